// Package ratelimit keeps the one budget of requests that all workers share for
// each app, source and environment: it books slots in Redis and sleeps until they
// come. Signs of distress in the answers lower the rate for a while. A breaker
// holds calls back: of all apps when most are failing, and else of the one app, or
// size of request, that fails alone. How large a budget is, which answers are
// trouble, and what becomes of work that has to wait, it leaves to its callers.
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

	"revalidator/internal/clock"
)

var (
	// ErrBusy is matched by every *BusyError.
	ErrBusy = errors.New("no free slot")
	// ErrUnavailable says that Redis did not answer, or not as it should. Without it
	// nobody knows what the others send, so there is no slot either.
	ErrUnavailable = errors.New("rate limiter unavailable")
	// ErrForgotten says that Redis lost the slot while it was waited for: it was
	// emptied or replaced, evicts keys, was set back to an earlier state, or its
	// clock was. The queue may be gone with it, and so, before long, the claim of
	// whoever waited: others may be asking already.
	ErrForgotten = errors.New("redis lost the booked slot meanwhile")
	// ErrLate says that the slot is past: this process stood still, or its machine
	// did. Nothing may be sent now that others do not expect, and what was claimed
	// before may have been given to them.
	ErrLate = errors.New("the booked slot is past")
)

// BusyError is a refusal: the next free slot is further away than MaxWait, and
// nothing was booked. It matches ErrBusy.
type BusyError struct {
	// RetryAfter is how far away the next free slot is now. Everybody who is
	// refused hears the same, so add jitter.
	RetryAfter time.Duration
	// BlockedUntil is the end of a block, the zero time where there is none.
	BlockedUntil time.Time
}

func (e *BusyError) Error() string {
	if !e.BlockedUntil.IsZero() {
		return fmt.Sprintf("no free slot for %v: blocked until %s", e.RetryAfter.Round(time.Millisecond), e.BlockedUntil.UTC().Format(time.RFC3339))
	}
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
	// Now is the process's own monotonic clock. Nil is the real one.
	Now func() time.Time
}

// Limiter hands out the slots of any number of budgets, first come, first
// served. It is safe for concurrent use; make one with New.
//
// A budget is named by an app, what it asks, and the size of the request where
// that counts: "com.example.reader/Production/8 to 16 KiB". The rate is one for all
// sizes.
type Limiter struct {
	redis    redis.UniversalClient
	maxWait  time.Duration
	patience time.Duration
	sleep    func(context.Context, time.Duration) error
	now      func() time.Time

	mu    sync.Mutex
	lines map[line]*queue
	known map[string]known // by key of the budget in Redis
	notes map[string]*notes
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
		c.Sleep = clock.Sleep
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Limiter{
		redis: c.Redis, maxWait: c.MaxWait, patience: cmp.Or(c.Patience, defaultPatience), sleep: c.Sleep, now: c.Now,
		lines: make(map[line]*queue), known: make(map[string]known), notes: make(map[string]*notes),
	}, nil
}

// Slot is the right to one call. Its zero value is one that nobody booked.
type Slot struct {
	at    int64  // UNIX microseconds of the clock of Redis, as the others
	cut   int64  // when the line was last broken up at the time of the booking
	born  int64  // names the line
	probe int64  // names the probe, 0 where it is none
	of    string // the scope of the breaker that it probes
}

// IsProbe reports whether the call decides if an open breaker may close.
func (s Slot) IsProbe() bool { return s.probe != 0 }

const (
	// late is by how much a sleeper may miss its slot: as much more than the rate
	// may be sent within a second. A busy machine wakes those who sleep late.
	late = 200 * time.Millisecond
	// slowAnswer is how long Redis may take to confirm a slot until that is not
	// good any more. What is asked for at the same moment is sent at the same moment.
	slowAnswer = time.Second
)

// Wait books the next free slot of a budget and sleeps until it comes. What is
// heard of the call is to be told with Report. Its errors are a *BusyError where
// that slot is further away than MaxWait, an *OpenError while a breaker is open,
// ErrUnavailable where Redis does not answer, ErrForgotten where it lost the slot,
// ErrLate where the slot has passed and another is to be waited for, and the error
// of ctx as such. A slot that was booked when ctx ends is lost.
func (l *Limiter) Wait(ctx context.Context, key string, r Rate) (Slot, error) {
	if err := r.Validate(); err != nil {
		return Slot{}, err
	}
	for {
		b, err := l.book(ctx, line{key: key, rate: r})
		var open *OpenError
		if errors.As(err, &open) && open.RetryAfter <= 0 {
			b, err = l.bookProbe(ctx, key, r)
		}
		if err != nil {
			return Slot{}, err
		}
		stands, err := l.await(ctx, key, b)
		if stands {
			return b.slot, nil
		}
		l.giveUp(ctx, key, b.slot)
		if err != nil {
			return Slot{}, err
		}
	}
}

// await sleeps until a slot comes, and reports whether it is good then: a block
// or a cut that came meanwhile is for the sleepers too.
func (l *Limiter) await(ctx context.Context, key string, b booking) (stands bool, err error) {
	if b.wait <= 0 {
		return l.inTime(b.sent)
	}
	asleep := l.now()
	if err := l.sleep(ctx, b.wait); err != nil {
		return false, err
	}
	asked := l.now()
	s, err := l.ask(ctx, line{key: key}, 0)
	if err != nil {
		return false, err
	}
	took := l.now().Sub(asked)
	switch {
	case asked.Sub(asleep)-b.wait > late, micros(s.now-b.slot.at)-took > late:
		return false, fmt.Errorf("confirm a slot of %s: %w", key, ErrLate)
	case s.cut > b.slot.cut || s.blocked > b.slot.at || s.held != 0 && !b.slot.IsProbe():
		return false, nil
	case s.born != b.slot.born:
		return false, fmt.Errorf("confirm a slot of %s: %w", key, ErrForgotten)
	}
	return l.inTime(asked)
}

// inTime is whether what Redis was asked at some moment is good now.
func (l *Limiter) inTime(asked time.Time) (bool, error) {
	if took := l.now().Sub(asked); took > slowAnswer {
		return false, fmt.Errorf("%w: redis answered, or this process went on, after %v", ErrLate, took.Round(time.Millisecond))
	}
	return true, nil
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// when is a time of the clock of Redis, the zero time where there is none.
func when(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
