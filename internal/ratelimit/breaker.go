package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrOpen is matched by every *OpenError.
var ErrOpen = errors.New("calls are held back")

// OpenError is a refusal by an open breaker: most of the last answers were
// trouble, so that nobody but a few probes may ask. It matches ErrOpen.
type OpenError struct {
	// RetryAfter is when it is worth to try again. Everybody who is refused
	// hears the same, so add jitter.
	RetryAfter time.Duration
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("calls are held back for %v after too much trouble", e.RetryAfter.Round(time.Millisecond))
}

// Is makes errors.Is(err, ErrOpen) true.
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// Signal is what an answer says of the one who gave it, whatever it says of the
// question.
type Signal string

// The signals.
const (
	// Answered is an answer that was worth asking for.
	Answered Signal = "answered"
	// Unclear says nothing: no call was made, or its fault was ours.
	Unclear Signal = "unclear"
	// Limited asks to be called less.
	Limited Signal = "limited"
	// Distress is no answer, or one that speaks of trouble.
	Distress Signal = "distress"
	// Malformed accuses a question that cannot be at fault. It opens the
	// breaker as Distress does, and leaves the rate alone.
	Malformed Signal = "malformed"
)

// Verdict is what became of a budget by what was heard.
type Verdict struct {
	// Open is whether the breaker is open now; RetryAfter when it is worth to
	// ask again then.
	Open       bool
	RetryAfter time.Duration
	// Opened and Closed are whether the breaker just did, which of all workers
	// one hears. Since is when it opened.
	Opened, Closed bool
	Since          time.Time
	// Halved is whether the rate just was.
	Halved bool
}

// reportTimeout bounds a report, which is made also when the caller's time is
// over.
const reportTimeout = 5 * time.Second

// probeHold is how long a probe holds other work back.
const probeHold = 10 * time.Second

// Report tells what was heard of the call for which a slot was waited for; why
// is one word for the trouble, if there was any. Good answers travel with the
// next booking, and cost no call to Redis. Its error is ErrUnavailable.
func (l *Limiter) Report(ctx context.Context, key string, s Slot, heard Signal, why string) (Verdict, error) {
	switch {
	case s.IsProbe():
	case heard == Unclear:
		return Verdict{}, nil
	case heard == Answered:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.good[key]++
		return Verdict{}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
	defer cancel()
	reply, err := reportScript.Run(ctx, l.redis, []string{redisKey(key)},
		string(heard), why, s.probe, lifetime.Milliseconds(), l.untold(key)).Slice()
	if err != nil {
		return Verdict{}, unavailable(ctx, "report on", key, err)
	}
	number := func(i int) int64 { n, _ := reply[i].(int64); return n }
	v := Verdict{
		Open: number(1) > 0, RetryAfter: time.Duration(number(1)) * time.Microsecond,
		Opened: reply[0] == "opened", Closed: reply[0] == "closed", Halved: number(2) == 1,
	}
	if since := number(3); since > 0 {
		v.Since = time.UnixMicro(since).UTC()
	}
	l.list(ctx, key, v, time.UnixMicro(number(4)))
	return v, nil
}

// giveUp tells that a booked slot is not used.
func (l *Limiter) giveUp(ctx context.Context, key string, s Slot) {
	// Where this fails, the patience with the probe ends.
	_, _ = l.Report(ctx, key, s, Unclear, "")
}

// untold takes the good answers that the budget was not told of.
func (l *Limiter) untold(key string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.good[key]
	delete(l.good, key)
	return n
}

// Two lists of budgets, so that nobody has to look at all of them: those that
// give out no slots, and those that are not as configured, each until a time.
// They are hints: that one could not be written, or was lost, is no matter.
const (
	heldKey     = "revalidator:held"
	impairedKey = "revalidator:impaired"
)

// creepTime is longer than a rate takes to creep back from its least.
const creepTime = 30 * time.Minute

// list keeps the lists after a verdict; until is when the pause of the breaker is
// over.
func (l *Limiter) list(ctx context.Context, key string, v Verdict, until time.Time) {
	switch {
	case v.Open:
		l.hold(ctx, key, until)
		l.impair(ctx, key, lifetime)
	case v.Closed:
		_ = l.redis.ZRem(ctx, heldKey, key).Err()
		l.impair(ctx, key, creepTime)
	case v.Halved:
		l.impair(ctx, key, creepTime)
	}
}

// hold keeps the later of two times.
func (l *Limiter) hold(ctx context.Context, key string, until time.Time) {
	_ = l.redis.ZAddGT(ctx, heldKey, redis.Z{Score: float64(until.UnixMicro()), Member: key}).Err()
}

func (l *Limiter) impair(ctx context.Context, key string, d time.Duration) {
	_ = l.redis.ZAdd(ctx, impairedKey, redis.Z{Score: float64(time.Now().Add(d).UnixMicro()), Member: key}).Err()
}

// Shares are the parts of the configured rates that are in force, by the keys of
// the budgets that are not as configured. It is 0 where nobody gets a slot now,
// so that to bring work is of no use.
func (l *Limiter) Shares(ctx context.Context) (map[string]float64, error) {
	impaired, err := l.Impaired(ctx)
	if err != nil {
		return nil, err
	}
	held, err := l.listed(ctx, heldKey)
	if err != nil {
		return nil, err
	}
	shares := make(map[string]float64)
	for _, s := range impaired {
		shares[s.Key] = s.Share
	}
	for _, key := range held {
		shares[key] = 0
	}
	return shares, nil
}

func (l *Limiter) listed(ctx context.Context, list string) ([]string, error) {
	keys, err := listedScript.Run(ctx, l.redis, []string{list}).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("list budgets: %w: %w", ErrUnavailable, err)
	}
	return keys, nil
}

// State is how a budget stands.
type State struct {
	Key string
	// Share is the part of the configured rate that is in force, 1 at best.
	Share float64
	// Open is whether the breaker is open: since when, until when nobody but a
	// probe asks, and for what in one word.
	Open         bool
	Since, Until time.Time
	Why          string
}

// Impaired says how the budgets stand that are not as configured, by their keys.
func (l *Limiter) Impaired(ctx context.Context) ([]State, error) {
	keys, err := l.listed(ctx, impairedKey)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	slices.Sort(keys)
	if err := lookScript.Load(ctx, l.redis).Err(); err != nil {
		return nil, fmt.Errorf("look at budgets: %w: %w", ErrUnavailable, err)
	}
	replies, err := l.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, key := range keys {
			lookScript.EvalSha(ctx, pipe, []string{redisKey(key)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at budgets: %w: %w", ErrUnavailable, err)
	}
	var states []State
	for i, key := range keys {
		values, err := replies[i].(*redis.Cmd).Slice()
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", key, err)
		}
		if s := newState(key, values); s.Open || s.Share < 1 {
			states = append(states, s)
		}
	}
	return states, nil
}

func newState(key string, values []any) State {
	number := func(i int) int64 { n, _ := values[i].(int64); return n }
	s := State{Key: key, Share: float64(number(0)) / 1e6, Open: number(1) > 0}
	if s.Open {
		s.Since, s.Until = time.UnixMicro(number(1)).UTC(), time.UnixMicro(number(2)).UTC()
		s.Why, _ = values[3].(string)
	}
	return s
}
