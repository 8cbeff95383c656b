// Package ratelimit keeps the one budget of requests that all workers share
// per app and environment: it books slots in Redis and sleeps until they come.
// Signs of distress in the answers lower the rate for a while, and open a
// breaker when most answers are trouble. How large a budget is, which answers
// are trouble, and what becomes of work that has to wait, it leaves to its
// callers.
package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrBusy is matched by every *BusyError.
	ErrBusy = errors.New("no free slot")
	// ErrUnavailable says that Redis did not answer. Without it nobody knows
	// what the others send, so there is no slot either.
	ErrUnavailable = errors.New("rate limiter unavailable")
	// ErrForgotten says that Redis was emptied or replaced while the slot was
	// waited for. The queue is gone with it, and so, before long, is the claim of
	// whoever waited: others may be asking already.
	ErrForgotten = errors.New("redis was emptied meanwhile")
)

// BusyError is a refusal: the next free slot is further away than MaxWait, and
// nothing was booked. It matches ErrBusy.
type BusyError struct {
	// RetryAfter is how far away the next free slot is now. Everybody who is
	// refused hears the same, so add jitter.
	RetryAfter time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("no free slot for %v", e.RetryAfter.Round(time.Millisecond))
}

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Rate is the size of a budget: in any time t there are at most
// Burst + PerSecond·t slots.
type Rate struct {
	// PerSecond is how many slots come free per second, more than 0.
	PerSecond float64
	// Burst is how many unused slots are saved up, at least 1.
	Burst int
}

// Validate reports a rate that would never give a slot.
func (r Rate) Validate() error {
	if !(r.PerSecond > 0) || math.IsInf(r.PerSecond, 0) || r.Burst < 1 {
		return fmt.Errorf("rate of %v per second with a burst of %d: want more than 0 and at least 1", r.PerSecond, r.Burst)
	}
	return nil
}

// Config is what a Limiter needs.
type Config struct {
	// Redis is shared by all workers: single, Sentinel or Cluster. Its owner
	// closes it.
	Redis redis.UniversalClient
	// MaxWait is the longest sleep for a slot. Longer waits are refused,
	// because a sleeper holds a worker. Zero refuses every wait. All processes
	// should agree on it.
	MaxWait time.Duration
	// Patience is how long a probe may be on its way, from its slot to its
	// report, before another is sent in its place. Default 2 min.
	Patience time.Duration
	// Sleep waits for d or until ctx ends, whose error it returns. Nil sleeps
	// by the real clock.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Limiter hands out the slots of any number of budgets, first come, first
// served. It is safe for concurrent use; make one with New.
type Limiter struct {
	redis    redis.UniversalClient
	maxWait  time.Duration
	patience time.Duration
	sleep    func(context.Context, time.Duration) error

	mu  sync.Mutex
	met map[string]bool // budgets that exist unless Redis was emptied
	// good are answers that the budgets have not been told of.
	good map[string]int64
	// lines are those who wait for a booking; one that is here is served.
	lines map[line][]chan<- booking
}

// defaultPatience is longer than a call to Apple takes that runs into its
// timeout.
const defaultPatience = 2 * time.Minute

// New checks the configuration. It does not speak to Redis yet.
func New(c Config) (*Limiter, error) {
	if c.Redis == nil {
		return nil, errors.New("rate limiter: no Redis client")
	}
	if c.MaxWait < 0 {
		return nil, fmt.Errorf("rate limiter: longest wait %v is negative", c.MaxWait)
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	return &Limiter{
		redis: c.Redis, maxWait: c.MaxWait, patience: cmp.Or(c.Patience, defaultPatience), sleep: c.Sleep,
		met: make(map[string]bool), good: make(map[string]int64),
		lines: make(map[line][]chan<- booking),
	}, nil
}

// Slot is the right to one call. Its zero value is one that nobody booked.
type Slot struct {
	at    int64 // UNIX microseconds of the clock of Redis, as the others
	cut   int64 // when the line was last broken up at the time of the booking
	probe int64 // names the pause of the breaker after which it is a probe
	born  int64 // names the budget among those of the same key that were lost
}

// IsProbe reports whether the call tells if an open breaker may close.
func (s Slot) IsProbe() bool { return s.probe != 0 }

// Wait books the next free slot of the budget key and sleeps until it comes.
// What is heard of the call is to be told with Report. Its errors are a
// *BusyError where that slot is further away than MaxWait, an *OpenError while
// the breaker is open, ErrUnavailable where Redis does not answer, ErrForgotten
// where it has been emptied, and the error of ctx as such. A slot that was booked when ctx ends is lost.
func (l *Limiter) Wait(ctx context.Context, key string, r Rate) (Slot, error) {
	if err := r.Validate(); err != nil {
		return Slot{}, err
	}
	for {
		slot, wait, err := l.book(ctx, key, r)
		if err != nil || wait <= 0 {
			return slot, err
		}
		stands := false
		if err = l.sleep(ctx, wait); err == nil {
			stands, err = l.stands(ctx, key, slot)
		}
		if err == nil && stands {
			return slot, nil
		}
		l.giveUp(ctx, key, slot)
		if err != nil {
			return Slot{}, err
		}
	}
}

// Block closes the budget key until a time, as a 429 with Retry-After asks:
// nobody gets a slot before, and those who sleep for one are sent to the end of
// the line. A time in the past, or before the end of an earlier block, changes
// nothing. An emptied Redis forgets it.
func (l *Limiter) Block(ctx context.Context, key string, until time.Time) error {
	err := blockScript.Run(ctx, l.redis, []string{redisKey(key)}, until.UnixMicro(), lifetime.Milliseconds()).Err()
	if err != nil {
		return unavailable(ctx, "block", key, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
