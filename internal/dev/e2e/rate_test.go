package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/dev/judge"
	"revalidator/internal/ratelimit"
	"revalidator/worker"
)

// firstAsked is when the limiter was first asked for a slot of each budget.
type firstAsked struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (f *firstAsked) note(budget string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.at[budget]; !known {
		f.at[budget] = time.Now()
	}
}

type watchedLimiter struct {
	worker.Limiter
	first *firstAsked
}

func (l watchedLimiter) Wait(ctx context.Context, key string, rate ratelimit.Rate) (ratelimit.Slot, error) {
	b := apps.ParseBudget(key)
	l.first.note(b.BundleID + "/" + string(b.Environment))
	return l.Limiter.Wait(ctx, key, rate)
}

// watchStalls measures by how much the machine lets those wait whose time has
// come. It returns the longest such wait once it is told to end.
func watchStalls(t *testing.T) (end func() time.Duration) {
	t.Helper()
	const every = 5 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	longest := make(chan time.Duration, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		var most time.Duration
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-tick.C:
				most = max(most, time.Since(last)-every)
			case <-ctx.Done():
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration {
		stop()
		return <-longest
	}
}

// mustKeepRate looks at the simulator's log in two ways. From the first booking
// of a budget on, no call came before the burst and the rate allow it: on its
// way a call only gets later. And no window of the log, however long, holds more
// than its burst and its rate, but for that way: it takes now more, now less
// time, and a window may be that much shorter than the bookings that it shows.
func (n *night) mustKeepRate(rate float64, burst int, first map[string]time.Time, stall time.Duration) {
	n.t.Helper()
	const clocks = time.Millisecond // Redis counts microseconds, and rounds
	way := 750*time.Millisecond + 3*stall
	times := map[string][]time.Time{}
	for entry := range n.sim.Log(0) {
		budget := entry.BundleID + "/" + entry.Environment
		times[budget] = append(times[budget], entry.RealTime)
	}
	for budget, asked := range times {
		slices.SortFunc(asked, time.Time.Compare)
		for i, at := range asked {
			due := time.Duration(float64(i+1-burst) / rate * float64(time.Second))
			if early := due - at.Sub(first[budget]); early > clocks {
				n.t.Errorf("%s: call %d came %s before its time", budget, i+1, early)
				break
			}
		}
		lead := judge.Lead(asked, rate, burst)
		n.t.Logf("%s: %d calls, at most %s ahead of the rate; the longest stall was %s", budget, len(asked), lead, stall)
		if lead > way {
			n.t.Errorf("%s: %s ahead of the rate, want at most %s", budget, lead, way)
		}
	}
}
