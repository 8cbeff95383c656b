package ratelimit

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed book.lua
var bookSource string

//go:embed block.lua
var blockSource string

var (
	bookScript  = redis.NewScript(bookSource)
	blockScript = redis.NewScript(blockSource)
)

// lifetime is how long an unused budget stays in Redis. It only keeps apps
// that left from piling up: a process that comes back to a budget later than
// this takes it for emptied, and waits MaxWait once.
const lifetime = 24 * time.Hour

// booking is a slot: when it is, in UNIX microseconds of the clock of Redis,
// and how far away that was when it was booked.
type booking struct {
	slot int64
	wait time.Duration
}

// redisKey has the key in braces, so that a Redis Cluster keeps everything
// about one budget on one shard.
func redisKey(key string) string { return "revalidator:rate:{" + key + "}" }

func (l *Limiter) book(ctx context.Context, key string, r Rate) (booking, error) {
	reply, err := bookScript.Run(ctx, l.redis, []string{redisKey(key)},
		r.PerSecond, r.Burst, l.maxWait.Microseconds(), l.knows(key), lifetime.Milliseconds()).Int64Slice()
	if err != nil {
		return booking{}, unavailable(ctx, "book", key, err)
	}
	wait := time.Duration(reply[1]) * time.Microsecond
	if reply[0] == 0 {
		return booking{}, &BusyError{RetryAfter: wait}
	}
	l.remember(key)
	return booking{slot: reply[2], wait: wait}, nil
}

// blocked returns until when the budget is closed; 0 is not at all.
func (l *Limiter) blocked(ctx context.Context, key string) (int64, error) {
	until, err := l.redis.HGet(ctx, redisKey(key), "blocked").Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, unavailable(ctx, "confirm", key, err)
	}
	return until, nil
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
