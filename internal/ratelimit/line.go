package ratelimit

import (
	"context"
	"fmt"
	"time"
)

// mostBooked bounds how long one booking keeps Redis.
const mostBooked = 64

// line is a budget at a rate. Those who want a slot of it while a booking is on
// its way share the next one: one call to Redis instead of one each.
type line struct {
	key  string
	rate Rate
}

// booking is what became of one in the line.
type booking struct {
	slot Slot
	wait time.Duration
	err  error
}

// book is the next free slot of the budget, and how far away it is.
func (l *Limiter) book(ctx context.Context, key string, r Rate) (Slot, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return Slot{}, 0, err
	}
	in, told := line{key, r}, make(chan booking, 1)
	l.mu.Lock()
	waiting, serving := l.lines[in]
	l.lines[in] = append(waiting, told)
	l.mu.Unlock()
	if !serving {
		go l.serve(context.WithoutCancel(ctx), in)
	}
	// To leave would be to not know what was booked.
	b := <-told
	return b.slot, b.wait, b.err
}

// serve books for those in a line until nobody is left.
func (l *Limiter) serve(ctx context.Context, in line) {
	for {
		l.mu.Lock()
		waiting := l.lines[in]
		if len(waiting) == 0 {
			delete(l.lines, in)
			l.mu.Unlock()
			return
		}
		n := min(len(waiting), mostBooked)
		l.lines[in] = waiting[n:]
		l.mu.Unlock()
		booked, err := l.bookAll(ctx, in, n)
		for i, told := range waiting[:n] {
			if err != nil {
				told <- booking{err: err}
				continue
			}
			told <- booked[i]
		}
	}
}

// What book.lua may answer.
const (
	bookedBusy = iota
	bookedSlot
	bookedOpen
)

// replyLength is how many numbers book.lua returns for each slot.
const replyLength = 6

// bookAll is one call to Redis for n slots.
func (l *Limiter) bookAll(ctx context.Context, in line, n int) ([]booking, error) {
	reply, err := bookScript.Run(ctx, l.redis, []string{redisKey(in.key)}, in.rate.PerSecond, in.rate.Burst, l.maxWait.Microseconds(),
		l.knows(in.key), lifetime.Milliseconds(), l.untold(in.key), l.patience.Microseconds(), n).Int64Slice()
	if err == nil && len(reply) != n*replyLength {
		err = fmt.Errorf("%d numbers for %d slots", len(reply), n)
	}
	if err != nil {
		return nil, unavailable(ctx, "book", in.key, err)
	}
	all := make([]booking, n)
	for i := range all {
		all[i] = l.booked(ctx, in.key, reply[i*replyLength:])
	}
	return all, nil
}

func (l *Limiter) booked(ctx context.Context, key string, reply []int64) booking {
	wait := time.Duration(reply[1]) * time.Microsecond
	switch reply[0] {
	case bookedBusy:
		return booking{err: &BusyError{RetryAfter: wait}}
	case bookedOpen:
		return booking{err: &OpenError{RetryAfter: wait}}
	}
	l.remember(key)
	slot := Slot{at: reply[2], cut: reply[3], probe: reply[4], born: reply[5]}
	if slot.IsProbe() {
		// Until it is heard of, other work would come for nothing.
		l.hold(ctx, key, time.UnixMicro(slot.at).Add(probeHold))
	}
	return booking{slot: slot, wait: wait}
}
