package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
)

// receiptOf is a receipt of a size, whose id is n.
func receiptOf(n int, size int64) claim.Receipt {
	return claim.Receipt{ID: int64(n), ByteSize: size}
}

// mustBeFree fails where something of a budget was not given back.
func mustBeFree(t *testing.T, m *memory) {
	t.Helper()
	if !m.fixed.TryAcquire(m.fixedBytes) || !m.large.TryAcquire(m.largeBytes) || !m.grown.TryAcquire(m.grownBytes) {
		t.Error("something was not given back")
	}
}

func TestMemoryIsShared(t *testing.T) {
	t.Parallel()
	const small, large = 8 << 10, 2_200_000
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(4 << 20)
		var held []*room
		enter := func(size int64) *room {
			r := m.room(receiptOf(len(held), size))
			if err := r.enter(t.Context()); err != nil {
				t.Error(err)
			}
			return r
		}
		for range m.largeBytes / m.weight(large) {
			held = append(held, enter(large))
		}
		came := make(chan *room)
		go func() { came <- enter(large) }()
		synctest.Wait()
		select {
		case <-came:
			t.Error("another large receipt got through, beyond what they may take")
		default:
		}
		held = append(held, enter(small)) // waits for none of them
		held[0].leave()
		(<-came).leave()
		for _, r := range held {
			r.leave()
		}
		mustBeFree(t, m)
	})
}

func TestReceiptLargerThanTheBudgetGetsThroughAlone(t *testing.T) {
	t.Parallel()
	m := newMemory(256 << 10)
	r := m.room(receiptOf(1, 1<<30))
	if err := r.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.leave()
	mustBeFree(t, m)
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
	if !p.memory.fixed.TryAcquire(p.memory.fixedBytes) {
		t.Fatal("the budget is not free at the start")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o, err := p.check(ctx, claimed(), p.memory.room(claimed()))
	if err != nil || o.Asked || o.Failure != "memory_full" {
		t.Errorf("got asked %t, failure %q, error %v; want it given back for want of memory", o.Asked, o.Failure, err)
	}
}

// TestReplyTakesAsItGrows and gives back what it did not need, and all of it once
// its result is stored.
func TestReplyTakesAsItGrows(t *testing.T) {
	t.Parallel()
	m := newMemory(40 << 20)
	r := m.room(receiptOf(1, 6000))
	if err := r.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ kept, want int64 }{
		{coveredBytes, 0},
		{coveredBytes + 1, firstGrowth},
		{firstGrowth, firstGrowth},
		{firstGrowth + coveredBytes + 1, 4 * firstGrowth},
		{9 << 20, 9<<20 - coveredBytes},
	} {
		if err := r.grow(t.Context(), step.kept); err != nil || r.extra != step.want {
			t.Errorf("%d bytes: took %d, error %v; want %d", step.kept, r.extra, err, step.want)
		}
	}
	if err := r.grow(t.Context(), 3<<20); err != nil { // the reply of the other environment
		t.Error(err)
	}
	if r.settle(); r.extra != 3<<20-coveredBytes {
		t.Errorf("keeps %d, want what the reply holds", r.extra)
	}
	if err := r.grow(t.Context(), 11<<20); !errors.Is(err, errNeverRoom) {
		t.Errorf("more than all may: got %v", err)
	}
	r.leave()
	r.leave()
	mustBeFree(t, m)
}

// TestRepliesWaitForMemory as long as Apple can wait, and no two for each other.
func TestRepliesWaitForMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(4 << 20) // 1 MiB for replies
		first, second := m.room(receiptOf(1, 0)), m.room(receiptOf(2, 0))
		if err := errors.Join(first.enter(t.Context()), second.enter(t.Context()), first.grow(t.Context(), 900<<10)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- second.grow(t.Context(), 300<<10) }()
		synctest.Wait()
		first.leave()
		if err := <-done; err != nil {
			t.Errorf("the second: %v, want it to wait for the first", err)
		}

		// Half of what is left of its request.
		third := m.room(receiptOf(3, 0))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		started := time.Now()
		if err := third.grow(ctx, 900<<10); !errors.Is(err, errNoRoom) || time.Since(started) != 2*time.Second {
			t.Errorf("got %v after %v, want it put off after 2s", err, time.Since(started))
		}
		// Who holds some does not wait.
		if err := second.grow(t.Context(), 1000<<10); err != nil {
			t.Error(err)
		}
		fourth := m.room(receiptOf(4, 0))
		second.settle()
		second.leave()
		if err := errors.Join(fourth.grow(t.Context(), 300<<10), second.grow(t.Context(), 300<<10)); err != nil {
			t.Fatal(err)
		}
		if err := second.grow(t.Context(), 900<<10); !errors.Is(err, errNoRoom) {
			t.Errorf("the second: got %v, want it put off at once", err)
		}
	})
}

// TestWhatWasPutOffTakesMoreTheNextTime before Apple is asked: it is asked once
// more, and not again and again.
func TestWhatWasPutOffTakesMoreTheNextTime(t *testing.T) {
	t.Parallel()
	m := newMemory(16 << 20)
	r := m.room(receiptOf(1, 6000))
	full := m.room(receiptOf(2, 0))
	if err := errors.Join(r.enter(t.Context()), r.grow(t.Context(), 100<<10), full.grow(t.Context(), 7<<19)); err != nil {
		t.Fatal(err)
	}
	err := r.grow(t.Context(), 1<<20)
	if !errors.Is(err, errNoRoom) {
		t.Fatalf("got %v, want it put off", err)
	}
	r.learn(fmt.Errorf("ask: %w", &appstore.RoomError{Bytes: 1 << 20, Err: err}))
	r.leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	again := m.room(receiptOf(1, 6000))
	if err := again.enter(ctx); err == nil {
		t.Error("it is asked about while there is no room")
	}
	again.leave()
	full.leave()
	again = m.room(receiptOf(1, 6000))
	if err := again.enter(t.Context()); err != nil || again.extra != 1<<20 {
		t.Errorf("took %d and error %v, want what it was put off for", again.extra, err)
	}
	again.leave()
	mustBeFree(t, m)
}

func TestFewAreRemembered(t *testing.T) {
	t.Parallel()
	m := newMemory(16 << 20)
	for i := range 3 * mostNeeds {
		m.room(receiptOf(i, 0)).remember(1 << 20)
	}
	if n := len(m.needs); n > mostNeeds {
		t.Errorf("%d are remembered", n)
	}
}

// TestReplyWithoutRoomIsPutOff has Apple asked, and the reply grow beyond what
// there is: the call is counted, and no failure; what would never fit is one.
func TestReplyWithoutRoomIsPutOff(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bytes      int64
		failure    string
		asked      bool
		ofTheClass string
	}{
		"for now":  {5 << 20, "memory_full", false, "wait"},
		"for ever": {50 << 20, "reply_too_large", true, "retry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p parts
			p = newParts(t, func(cfg *Config) {
				cfg.MemoryBytes = 32 << 20
				cfg.AppStore = appStore(func(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
					if err := r.Grow(ctx, 1<<20); err != nil {
						return appstore.Answer{}, err
					}
					other := p.memory.room(receiptOf(2, 0))
					defer other.leave()
					if err := other.grow(ctx, 4<<20); err != nil {
						return appstore.Answer{}, err
					}
					return appstore.Answer{Calls: 1}, fmt.Errorf("ask: %w", r.Grow(ctx, test.bytes))
				})
			})
			o := p.mustHandle(t)
			if o.Failure != test.failure || o.Asked != test.asked || o.Calls != 1 || string(o.NextCheck.Rule) != test.ofTheClass {
				t.Errorf("outcome %+v, want %s by rule %s and one call", o, test.failure, test.ofTheClass)
			}
			mustBeFree(t, p.memory)
		})
	}
}

// TestMemoryIsHeldUntilTheResultIsStored because the result holds what the reply
// said.
func TestMemoryIsHeldUntilTheResultIsStored(t *testing.T) {
	t.Parallel()
	var p parts
	held := make(chan bool, 1)
	p = newParts(t, func(cfg *Config) {
		cfg.Store = holding{cfg.Store.(*fakeStore), func() { held <- !p.memory.grown.TryAcquire(p.memory.grownBytes) }}
		cfg.AppStore = appStore(func(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
			return accepted(), r.Grow(ctx, 1<<20)
		})
	})
	p.mustHandle(t)
	if !<-held {
		t.Error("the memory was given back before the result was stored")
	}
	mustBeFree(t, p.memory)
}

// holding is a store that looks at something while it saves.
type holding struct {
	*fakeStore
	look func()
}

func (s holding) SaveOutcomes(ctx context.Context, outcomes []claim.Outcome) ([]claim.Saved, error) {
	s.look()
	return s.fakeStore.SaveOutcomes(ctx, outcomes)
}
