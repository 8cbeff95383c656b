package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
)

var errStandby = fmt.Errorf("%w: the server is a standby", database.ErrNotWritable)

// brief is a context whose end a task's would be.
func brief(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestNobodyAsksWhileNothingCanBeStored has a task wait for a database that may not
// be written, and go on when it may.
func TestNobodyAsksWhileNothingCanBeStored(t *testing.T) {
	t.Parallel()
	calls := 0
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			calls++
			return accepted(), nil
		})
	})
	p.store.readOnly = errStandby
	p.writes.look(t.Context())
	if err := p.Handle(brief(t), task()); !errors.Is(err, database.ErrNotWritable) {
		t.Errorf("got %v, want %v", err, database.ErrNotWritable)
	}
	if calls != 0 || len(p.store.saved) != 0 {
		t.Errorf("%d calls to Apple and %d outcomes, want none", calls, len(p.store.saved))
	}
	done := make(chan error, 1)
	go func() { done <- p.Handle(t.Context(), task()) }()
	p.store.mu.Lock()
	p.store.readOnly = nil
	p.store.mu.Unlock()
	p.writes.look(t.Context())
	if err := <-done; err != nil || calls != 1 {
		t.Errorf("got %v after %d calls, want the task done with one", err, calls)
	}
}

// TestReadOnlyDuringTheWaitForASlot becomes so while a receipt waits.
func TestReadOnlyDuringTheWaitForASlot(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
			err := r.Wait(ctx, iap.Production)
			if err == nil {
				t.Error("Apple was asked")
			}
			return appstore.Answer{}, err
		})
	})
	p.limiter.wait = func(context.Context, string, ratelimit.Rate) error { p.writes.heard(errStandby); return nil }
	if err := p.Handle(t.Context(), task()); !errors.Is(err, database.ErrNotWritable) {
		t.Errorf("got %v, want %v", err, database.ErrNotWritable)
	}
}

// TestFailedSaveStopsCalls has a result find out that nothing can be stored.
func TestFailedSaveStopsCalls(t *testing.T) {
	t.Parallel()
	calls := 0
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			calls++
			return accepted(), nil
		})
	})
	p.store.saveErr = fmt.Errorf("%w: %w", database.ErrBroken, errStandby)
	for range 3 {
		if err := p.Handle(brief(t), task()); !errors.Is(err, database.ErrNotWritable) {
			t.Errorf("got %v, want %v", err, database.ErrNotWritable)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls to Apple, want the one whose result showed it", calls)
	}
}

// TestWatchNoticesInTime looks at when the gate closes and opens by itself.
func TestWatchNoticesInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		g := newWriteGate(store, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.watch(ctx, func() {})
		for _, step := range []struct {
			err    error
			within time.Duration
		}{{errStandby, writableEvery}, {errors.New("away"), time.Minute}, {nil, readOnlyEvery}} {
			before := g.why()
			store.mu.Lock()
			store.readOnly = step.err
			store.mu.Unlock()
			time.Sleep(step.within)
			synctest.Wait()
			want := step.err
			if want != nil && !errors.Is(want, database.ErrNotWritable) {
				want = before // a database that is away says nothing
			}
			if got := g.why(); got != want {
				t.Errorf("%s after %v: got %v, want %v", step.within, step.err, got, want)
			}
		}
	})
}
