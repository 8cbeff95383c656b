package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// HeartbeatEvery is how often a scheduler says that it is at work, and
// heartbeatLife after which silence it counts as gone.
const (
	HeartbeatEvery = 5 * time.Second
	heartbeatLife  = 4 * HeartbeatEvery
)

// schedulersKey names the schedulers at work, sorted by the time of their last
// sign of life.
const schedulersKey = "revalidator:schedulers"

// The scripts take the time from Redis, so that schedulers and who looks at
// them need not agree on it. ARGV[1] is heartbeatLife in milliseconds.
var (
	beatScript = redis.NewScript(`
		local time = redis.call('TIME')
		local now = time[1] * 1000 + math.floor(time[2] / 1000)
		redis.call('ZADD', KEYS[1], now, ARGV[2])
		redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
		return redis.call('PEXPIRE', KEYS[1], ARGV[1])`)
	schedulersScript = redis.NewScript(`
		local time = redis.call('TIME')
		local now = time[1] * 1000 + math.floor(time[2] / 1000)
		return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now - ARGV[1]), '+inf')`)
)

// Beat notes that the scheduler of a name is at work, and forgets those that
// have not said so for a while.
func (q *Queue) Beat(ctx context.Context, scheduler string) error {
	if err := beatScript.Run(ctx, q.redis, []string{schedulersKey}, heartbeatLife.Milliseconds(), scheduler).Err(); err != nil {
		return fmt.Errorf("note scheduler: %w", err)
	}
	return nil
}

// Leave notes that a scheduler has ended.
func (q *Queue) Leave(ctx context.Context, scheduler string) error {
	if err := q.redis.ZRem(ctx, schedulersKey, scheduler).Err(); err != nil {
		return fmt.Errorf("forget scheduler: %w", err)
	}
	return nil
}

// Schedulers names the schedulers that are at work, by their owners' names. One
// that was killed is among them for another 20 seconds.
func (q *Queue) Schedulers(ctx context.Context) ([]string, error) {
	names, err := schedulersScript.Run(ctx, q.redis, []string{schedulersKey}, heartbeatLife.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("list schedulers: %w", err)
	}
	return names, nil
}
