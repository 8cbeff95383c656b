package ratelimit

import (
	"context"
	_ "embed" // for the scripts
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed budget.lua
var budgetSource string

//go:embed book.lua
var bookSource string

//go:embed block.lua
var blockSource string

//go:embed report.lua
var reportSource string

//go:embed look.lua
var lookSource string

//go:embed listed.lua
var listedSource string

// Each script is one call to Redis, and nothing comes between its steps.
var (
	bookScript   = redis.NewScript(budgetSource + bookSource)
	blockScript  = redis.NewScript(budgetSource + blockSource)
	reportScript = redis.NewScript(budgetSource + reportSource)
	lookScript   = redis.NewScript(budgetSource + lookSource)
	listedScript = redis.NewScript(listedSource)
)

// lifetime is how long an unused budget stays in Redis. It only keeps apps
// that left from piling up: a process that comes back to a budget later than
// this takes it for emptied, and waits MaxWait once.
const lifetime = 24 * time.Hour

// redisKey has the key in braces, so that a Redis Cluster keeps everything
// about one budget on one shard.
func redisKey(key string) string { return "revalidator:rate:{" + key + "}" }

// stands reports whether a slot is good after a sleep: a Block may have come
// meanwhile, or the line was broken up, and both are for the sleepers too.
func (l *Limiter) stands(ctx context.Context, key string, s Slot) (bool, error) {
	values, err := l.redis.HMGet(ctx, redisKey(key), "blocked", "cut", "born").Result()
	if err != nil {
		return false, unavailable(ctx, "confirm", key, err)
	}
	blocked, cut, born := microseconds(values[0]), microseconds(values[1]), microseconds(values[2])
	if born != s.born {
		return false, fmt.Errorf("confirm a slot of %s: %w", key, ErrForgotten)
	}
	return blocked <= s.at && cut <= s.cut, nil
}

// microseconds is a time that a budget holds, 0 where it holds none.
func microseconds(value any) int64 {
	text, _ := value.(string)
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// knows is the script's argument for a budget from which this process has had
// a slot.
func (l *Limiter) knows(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.met[key] {
		return 1
	}
	return 0
}

func (l *Limiter) remember(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.met[key] = true
}

// unavailable tells the end of the caller's patience from trouble with Redis.
func unavailable(ctx context.Context, act, key string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s a slot of %s: %w: %w", act, key, ErrUnavailable, err)
}
