package ratelimit

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

// gate lets commands to Redis through once it is open, and counts them.
type gate struct {
	open  chan struct{}
	calls atomic.Int64
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.calls.Add(1)
		<-g.open
		return next(ctx, cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestThoseWhoWaitShareABooking(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client, MaxWait: time.Hour})
	r := Rate{PerSecond: 10, Burst: 1}
	mustBook(t, limiter, key, r, 1) // which loads the script
	g := &gate{open: make(chan struct{})}
	client.AddHook(g)
	const n = 50
	slots := make([]int64, n)
	var wg sync.WaitGroup
	book := func(i int) {
		wg.Go(func() {
			b, err := limiter.book(t.Context(), line{key: key, rate: r})
			if err != nil {
				t.Errorf("book: %v", err)
			}
			slots[i] = b.slot.at
		})
	}
	inLine := func() int { return limiter.waiting(line{key: key, rate: r}) }
	book(0)
	until(t, func() bool { return g.calls.Load() == 1 })
	for i := 1; i < n; i++ {
		book(i)
	}
	until(t, func() bool { return inLine() == n-1 })
	close(g.open)
	wg.Wait()
	if got := g.calls.Load(); got != 2 {
		t.Errorf("%d calls to Redis, want one for the first and one for all others", got)
	}
	checkWindows(t, slots, r)
}

// waiting is how many wait in a line for a booking.
func (l *Limiter) waiting(in line) int {
	l.mu.Lock()
	q := l.lines[in]
	l.mu.Unlock()
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// TestThoseWhoWaitMayLeave: nobody waits for an answer of Redis longer than for
// its own time, unless it asked.
func TestThoseWhoWaitMayLeave(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client, MaxWait: time.Hour})
	in := line{key: key, rate: Rate{PerSecond: 10, Burst: 1}}
	mustBook(t, limiter, in.key, in.rate, 1)
	g := &gate{open: make(chan struct{})}
	client.AddHook(g)
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := limiter.book(t.Context(), in); err != nil {
			t.Errorf("book: %v", err)
		}
	})
	until(t, func() bool { return g.calls.Load() == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := limiter.book(ctx, in)
		left <- err
	}()
	until(t, func() bool { return limiter.waiting(in) == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("left with %v, want %v", err, context.Canceled)
	}
	if n := limiter.waiting(in); n != 0 {
		t.Errorf("%d wait, want nobody", n)
	}
	close(g.open)
	asking.Wait()
	if len(limiter.lines) != 0 {
		t.Errorf("%d lines are left, want none", len(limiter.lines))
	}
}

// until polls for a condition.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for poll := time.NewTicker(time.Millisecond); !holds(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
