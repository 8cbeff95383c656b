package scheduler

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/runs"
	"revalidator/jobs"
)

// runFor lets the scheduler run for some time of the bubble's clock.
func (b bubble) runFor(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	if err := b.Run(ctx); err != nil {
		t.Errorf("a scheduler that is stopped has no error: %v", err)
	}
}

// nightly makes it noon when the bubble starts, with a nightly run at 2.
func nightly(t *testing.T) func(*Config) {
	return func(c *Config) {
		c.Schedule, c.CatchUp = schedule(t, "0 2 * * *"), 12*time.Hour
		c.Now = func() time.Time { return time.Now().Add(12 * time.Hour) }
	}
}

func TestMissedSlotIsCaughtUpOnce(t *testing.T) {
	inBubble(t, 3, nightly(t), func(t *testing.T, b bubble) {
		b.runFor(t, time.Hour)
		noon := b.started.Add(12 * time.Hour)
		want := []runs.Run{{
			ID: 1, Kind: runs.Nightly, ScheduledFor: noon.Add(-10 * time.Hour), Cutoff: noon, Deadline: noon.Add(8 * time.Hour),
		}}
		if diff := cmp.Diff(want, b.store.runs); diff != "" {
			t.Errorf("runs (-want +got)\n%s", diff)
		}
		if len(b.store.done) != 3 || len(b.store.ended) != 1 {
			t.Errorf("%d done, ends %v; want all 3 and one", len(b.store.done), b.store.ended)
		}
		if !slices.ContainsFunc(b.log.at(slog.LevelInfo), isCatchUp) {
			t.Errorf("got %q, want it said that the run is caught up", b.log.at(slog.LevelInfo))
		}
		if b.store.tries != 1 {
			t.Errorf("%d tries to open the run, want one: each costs a number", b.store.tries)
		}
	})
}

func isCatchUp(line string) bool { return strings.Contains(line, "is caught up now") }

func TestRunEveryNight(t *testing.T) {
	everyMinute := func(c *Config) { nightly(t)(c); c.Feed.Look = time.Minute }
	inBubble(t, 3, everyMinute, func(t *testing.T, b bubble) {
		b.runFor(t, 3*24*time.Hour)
		var got []string
		for i, run := range b.store.runs {
			late := run.Cutoff.Sub(run.ScheduledFor)
			if i > 0 && late > b.cfg.Feed.Look {
				t.Errorf("run %d started %v late", run.ID, late)
			}
			got = append(got, run.ScheduledFor.Format(time.DateTime))
		}
		want := []string{"2000-01-01 02:00:00", "2000-01-02 02:00:00", "2000-01-03 02:00:00", "2000-01-04 02:00:00"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("slots (-want +got)\n%s", diff)
		}
		if n := len(slices.DeleteFunc(b.log.at(slog.LevelInfo), func(line string) bool { return !isCatchUp(line) })); n != 1 {
			t.Errorf("%d runs are said to be caught up, want the first one only", n)
		}
	})
}

// TestSlotOfAnotherScheduler is opened already.
func TestSlotOfAnotherScheduler(t *testing.T) {
	inBubble(t, 3, nightly(t), func(t *testing.T, b bubble) {
		b.store.opened = map[time.Time]bool{b.started.Add(2 * time.Hour): true}
		b.runFor(t, time.Hour)
		if b.store.runs != nil || b.store.tries != 1 || b.queue.tasks != nil {
			t.Errorf("runs %v, %d tries, tasks %v; want one try and no more", b.store.runs, b.store.tries, b.queue.tasks)
		}
	})
}

func TestNoScheduleNoRun(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		b.runFor(t, time.Hour)
		if b.store.tries != 0 {
			t.Errorf("%d tries to open a run", b.store.tries)
		}
	})
}

func TestOrphansAreTakenOver(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		deadline := b.started.Add(time.Hour)
		b.store.orphans = []runs.Run{{ID: 4, Deadline: deadline}, {ID: 5, Deadline: deadline}}
		b.runFor(t, time.Minute)
		if len(b.store.ended) != 2 || len(b.store.done) != 3 {
			t.Errorf("ends %v, %d done; want two and 3", b.store.ended, len(b.store.done))
		}
		if diff := cmp.Diff([]string{"run started", "run started", "run finished", "run finished"}, b.log.at(slog.LevelInfo)); diff != "" {
			t.Errorf("log (-want +got)\n%s", diff)
		}
	})
}

// TestOwnRunIsFedOnce finds a run that the scheduler feeds, as it does after
// Postgres was away for longer than its lease.
func TestOwnRunIsFedOnce(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		run := runs.Run{ID: 4, Deadline: b.started.Add(time.Minute)}
		b.store.orphans = []runs.Run{run, run, run}
		b.queue.work = nil
		b.runFor(t, time.Hour)
		if len(b.store.ended) != 1 {
			t.Errorf("ended %d times, want once", len(b.store.ended))
		}
	})
}

// TestLookOutlivesFaults has Postgres away when a run should be opened.
func TestLookOutlivesFaults(t *testing.T) {
	for _, method := range []string{"TakeOverRun", "OpenRun"} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, 3, nightly(t), func(t *testing.T, b bubble) {
				calls := 0
				b.store.fail = func(called string) error {
					if called == method && calls < 5 {
						calls++
						return errAway
					}
					return nil
				}
				b.runFor(t, time.Minute)
				if len(b.store.done) != 3 || len(b.log.at(slog.LevelError)) != 5 {
					t.Errorf("%d done, errors %v; want all 3 and five", len(b.store.done), b.log.at(slog.LevelError))
				}
			})
		})
	}
}

// TestRunWaitsForItsFeeds stops the scheduler while tasks are on their way to
// Redis.
func TestRunWaitsForItsFeeds(t *testing.T) {
	inBubble(t, 1, nightly(t), func(t *testing.T, b bubble) {
		onTheWay, arrive := make(chan struct{}), make(chan struct{})
		b.queue.work = func(context.Context, []jobs.Verify) error {
			close(onTheWay)
			<-arrive
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		<-onTheWay
		stop()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the scheduler left a feed behind")
		default:
		}
		close(arrive)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
