package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"revalidator/internal/appstore"
)

func TestMemoryIsShared(t *testing.T) {
	t.Parallel()
	const small, large = 8 << 10, 2_200_000
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(4 << 20)
		var held []func()
		acquire := func(size int64) {
			held = append(held, must(t)(m.acquire(t.Context(), size)))
		}
		for range m.largeBytes / m.weight(large) {
			acquire(large)
		}
		came := make(chan func())
		go func() { came <- must(t)(m.acquire(t.Context(), large)) }()
		synctest.Wait()
		select {
		case <-came:
			t.Error("another large receipt got through, beyond what they may take")
		default:
		}
		acquire(small) // waits for none of them
		held[0]()
		(<-came)()
		for _, release := range held[1:] {
			release()
		}
		if !m.all.TryAcquire(m.allBytes) || !m.large.TryAcquire(m.largeBytes) {
			t.Error("something was not given back")
		}
	})
}

func must(t *testing.T) func(func(), error) func() {
	return func(release func(), err error) func() {
		if err != nil {
			t.Error(err)
		}
		return release
	}
}

func TestReceiptLargerThanTheBudgetGetsThroughAlone(t *testing.T) {
	t.Parallel()
	m := newMemory(1 << 20)
	release, err := m.acquire(t.Context(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestNoRoomGivesBack holds a receipt that found no memory in its time to being
// given back, unasked and without a failure.
func TestNoRoomGivesBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(cfg *Config) {
		cfg.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			t.Error("Apple was asked")
			return appstore.Answer{}, errors.New("asked")
		})
	})
	if !p.memory.all.TryAcquire(p.memory.allBytes) {
		t.Fatal("the budget is not free at the start")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o, err := p.check(ctx, claimed())
	if err != nil || o.Asked || o.Failure != "memory_full" {
		t.Errorf("got asked %t, failure %q, error %v; want it given back for want of memory", o.Asked, o.Failure, err)
	}
}
