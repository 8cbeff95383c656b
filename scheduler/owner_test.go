package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"revalidator/jobs"
)

var errForeign error = &jobs.OwnerError{Owner: jobs.Owner{Installation: "5e1f00000000", Database: "other"}}

// TestFeedEndsWhereTheQueueIsAnothers has Redis adopted by another installation in
// the middle of a run.
func TestFeedEndsWhereTheQueueIsAnothers(t *testing.T) {
	inBubble(t, 4, func(c *Config) { c.Feed.Depth, c.Feed.Tidy = 2, time.Nanosecond }, func(t *testing.T, b bubble) {
		b.store.fail = func(method string) error {
			if method == "Epoch" && len(b.queue.tasks) > 0 {
				return errForeign
			}
			return nil
		}
		_, err := b.Feed(t.Context(), b.mustOpen(t))
		if !errors.Is(err, jobs.ErrNotOwner) {
			t.Errorf("error: got %v, want %v", err, jobs.ErrNotOwner)
		}
		if got := len(b.queue.tasks); got != 2 {
			t.Errorf("%d tasks were enqueued, want the 2 from before", got)
		}
	})
}

// TestRunEndsWhereTheQueueIsAnothers ends a scheduler, whichever part of it finds out.
func TestRunEndsWhereTheQueueIsAnothers(t *testing.T) {
	for _, finder := range []string{"presence", "feed"} {
		t.Run(finder, func(t *testing.T) {
			presence := &fakePresence{}
			inBubble(t, 1, func(c *Config) { c.Presence = presence }, func(t *testing.T, b bubble) {
				if finder == "presence" {
					presence.lost = make(chan error, 1) // of this bubble
					presence.lost <- errForeign
				} else {
					b.store.fail = func(method string) error {
						if method == "Epoch" {
							return errForeign
						}
						return nil
					}
					b.mustOrphan(t)
				}
				if err := b.Run(t.Context()); !errors.Is(err, jobs.ErrNotOwner) {
					t.Errorf("error: got %v, want %v", err, jobs.ErrNotOwner)
				}
			})
		})
	}
}

// mustOrphan opens a run that Run finds.
func (b bubble) mustOrphan(t *testing.T) {
	t.Helper()
	b.store.orphans = append(b.store.orphans, b.mustOpen(t))
}

// TestContestedQueueIsNotFilled has a copy of the database come and go: nothing is
// claimed meanwhile, the run is kept, and it goes on by itself.
func TestContestedQueueIsNotFilled(t *testing.T) {
	presence, registry := &fakePresence{}, prometheus.NewRegistry()
	inBubble(t, 4, func(c *Config) { c.Presence, c.Registerer = presence, registry }, func(t *testing.T, b bubble) {
		presence.contested.Store(true)
		time.AfterFunc(10*time.Minute, func() {
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			if n := len(b.store.requests); n != 0 {
				t.Errorf("%d claims while the queue was contested", n)
			}
			if got := gauge(t, registry, "revalidator_queue_contested"); got != 1 {
				t.Errorf("the metric says %v, want 1 while the queue is contested", got)
			}
			presence.contested.Store(false)
		})
		if totals := b.mustFeed(t); totals.Done != 4 {
			t.Errorf("totals: %+v, want 4 done", totals)
		}
		if got := b.elapsed(); got < 10*time.Minute {
			t.Errorf("done after %s, while the queue was contested", got)
		}
		if got := b.log.at(slog.LevelError); len(got) != 0 {
			t.Errorf("errors logged: %q; the presence logs it once", got)
		}
	})
}

// gauge is the value of a metric without labels.
func gauge(t *testing.T, from prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Errorf("no metric %s", name)
	return 0
}

// TestClaimsWithoutATaskAreReported has a queue that takes tasks and loses one of
// them: that is logged once within a minute, and again when it is over.
func TestClaimsWithoutATaskAreReported(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		b.queue.work = func(context.Context, []jobs.Verify) error {
			b.queue.mu.Lock()
			defer b.queue.mu.Unlock()
			b.queue.tasks = slices.DeleteFunc(b.queue.tasks, func(v jobs.Verify) bool { return v.ReceiptID == 2 })
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		reported := func() bool {
			return slices.ContainsFunc(b.log.at(slog.LevelError), func(line string) bool { return strings.Contains(line, "claims have no task") })
		}
		time.AfterFunc(30*time.Second, func() {
			if reported() {
				t.Error("reported while the task may still be on its way")
			}
		})
		time.AfterFunc(time.Minute, func() {
			if !reported() {
				t.Error("not reported within a minute")
			}
			if got := testutil.ToFloat64(b.metrics.silent); got != 1 {
				t.Errorf("%v claims without a task, want 1", got)
			}
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			delete(b.store.until, 2)
			b.store.done = map[int64]bool{2: true}
		})
		time.AfterFunc(5*time.Minute, cancel)
		_, err := b.Feed(ctx, b.mustOpen(t))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error: got %v, want %v", err, context.Canceled)
		}
		if got := b.log.at(slog.LevelError); len(got) != 1 {
			t.Errorf("errors logged: %q, want one", got)
		}
		if got := b.log.at(slog.LevelInfo); !slices.Contains(got, "every claim has its task again") {
			t.Errorf("logged: %q, want that it is over", got)
		}
	})
}
