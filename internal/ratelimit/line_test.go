package ratelimit

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/devstack/redistest"
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
			slot, _, err := limiter.book(t.Context(), key, r)
			if err != nil {
				t.Errorf("book: %v", err)
			}
			slots[i] = slot.at
		})
	}
	inLine := func() int {
		limiter.mu.Lock()
		defer limiter.mu.Unlock()
		return len(limiter.lines[line{key, r}])
	}
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
