package ratelimit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// mostBooked bounds how long one booking keeps Redis.
const mostBooked = 64

// askTimeout bounds a call to Redis that others wait for, too.
const askTimeout = 10 * time.Second

// line is a budget at a rate. Those who want a slot of it while a booking is on
// its way share the next one: one call to Redis instead of one each.
type line struct {
	key   string
	rate  Rate
	probe bool
}

// queue are those in a line.
type queue struct {
	users int // under the limiter's mu: nobody is left at 0
	// serving is taken by the one of them who books for those who wait.
	serving chan struct{}
	mu      sync.Mutex
	waiting []chan booking
}

// booking is the result of one in the line.
type booking struct {
	slot Slot
	wait time.Duration
	sent time.Time // when Redis was asked
	err  error
}

// book is the next free slot of the budget, and how far away it is.
func (l *Limiter) book(ctx context.Context, in line) (booking, error) {
	if err := ctx.Err(); err != nil {
		return booking{}, err
	}
	q := l.join(in)
	defer l.leave(in, q)
	told := make(chan booking, 1)
	q.mu.Lock()
	q.waiting = append(q.waiting, told)
	q.mu.Unlock()
	for {
		select {
		case b := <-told:
			return b, b.err
		case <-ctx.Done():
			// A slot that is on its way to it is lost.
			q.mu.Lock()
			q.waiting = slices.DeleteFunc(q.waiting, func(c chan booking) bool { return c == told })
			q.mu.Unlock()
			return booking{}, ctx.Err()
		case q.serving <- struct{}{}:
			l.serve(ctx, in, q)
			<-q.serving
		}
	}
}

func (l *Limiter) join(in line) *queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[in]
	if q == nil {
		q = &queue{serving: make(chan struct{}, 1)}
		l.lines[in] = q
	}
	q.users++
	return q
}

func (l *Limiter) leave(in line, q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(l.lines, in)
	}
}

// serve books for the first in a line.
func (l *Limiter) serve(ctx context.Context, in line, q *queue) {
	q.mu.Lock()
	n := min(len(q.waiting), mostBooked)
	first := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	q.mu.Unlock()
	if n == 0 {
		return // somebody else served this one
	}
	sent := l.now()
	s, err := l.ask(context.WithoutCancel(ctx), in, n) // others wait for it
	for i, told := range first {
		b := booking{sent: sent, err: err}
		if err == nil {
			b.slot, b.wait, b.err = s.slot(i)
		}
		told <- b
	}
}

// standing is how a budget stands, in UNIX microseconds of the clock of Redis.
type standing struct {
	now, held, blocked, cut, born, next int64
	booked                              []int64
}

// slot is what the i-th of those who wanted one got.
func (s standing) slot(i int) (Slot, time.Duration, error) {
	switch {
	case i < len(s.booked):
		at := s.booked[i]
		return Slot{at: at, cut: s.cut, born: s.born}, micros(at - s.now), nil
	case s.held != 0 && len(s.booked) == 0:
		return Slot{}, 0, &OpenError{RetryAfter: micros(min(s.held-s.now, longestPause))}
	}
	busy := &BusyError{RetryAfter: micros(min(s.next-s.now, longestBlock))}
	if s.blocked > s.now {
		busy.BlockedUntil = when(s.blocked)
	}
	return Slot{}, 0, busy
}

// known is the line of a budget, and its last slot, of which a process knows.
type known struct{ born, slot int64 }

// ask is one call to Redis for n slots of a budget; for none it says how that
// stands.
func (l *Limiter) ask(ctx context.Context, in line, n int) (s standing, err error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	b, rate := parse(in.key), in.rate
	if n == 0 {
		rate = Rate{1, 1}
	}
	l.mu.Lock()
	k := l.known[b.key()]
	l.mu.Unlock()
	probe := 0
	if in.probe {
		probe = 1
	}
	args := []any{n, rate.PerSecond, rate.Burst, l.maxWait.Microseconds(), k.born, k.slot, lifetime.Milliseconds(), probe, creep}
	for _, scope := range b.scopes() {
		args = append(args, scope)
	}
	reply, err := bookScript.Run(asking, l.redis, []string{b.key(), limitsKey(b.of)}, args...).Int64Slice()
	if err == nil && len(reply) < 6 {
		err = fmt.Errorf("%d numbers for %d slots", len(reply), n)
	}
	if err != nil {
		return s, unavailable(ctx, "book a slot of", in.key, err)
	}
	s = standing{reply[0], reply[1], reply[2], reply[3], reply[4], reply[5], reply[6:]}
	if s.held-s.now > longestPause || s.blocked-s.now > longestBlock {
		// The clock of Redis was set back, or somebody else wrote it.
		if err := l.update(asking, b.of, func(h *health, _ int64) { h.rewrite = true }); err != nil {
			return s, unavailable(ctx, "correct", in.key, err)
		}
	}
	if len(s.booked) > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		if last := (known{s.born, s.booked[len(s.booked)-1]}); last.born != l.known[b.key()].born || last.slot > l.known[b.key()].slot {
			l.known[b.key()] = last
		}
	}
	return s, nil
}
