package repository_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// manualRun opens a second run.
func (f fixture) manualRun(now time.Time) runs.Run {
	f.t.Helper()
	run, err := f.OpenRun(f.t.Context(), runs.Run{Kind: runs.Manual, ScheduledFor: now, Cutoff: now, Deadline: now.Add(time.Hour)},
		runs.Lease{Owner: "test", Until: now.Add(time.Minute)}, now)
	f.must(err)
	f.must(f.CountRun(f.t.Context(), run, now))
	return run
}

func TestFollowEpoch(t *testing.T) {
	f := open(t)
	f.receipts(app, 5)
	run := f.run()
	for _, step := range []struct {
		epoch        string
		wantReleased int64
		wantChanged  bool
	}{{"first", 0, true}, {"first", 0, false}, {"second", 5, true}, {"second", 0, false}} {
		got, err := f.FollowEpoch(t.Context(), reads(step.epoch))
		f.must(err)
		if want := (claim.Followed{Epoch: step.epoch, Changed: step.wantChanged, Released: step.wantReleased}); got != want {
			t.Errorf("epoch %s: %+v, want %+v", step.epoch, got, want)
		}
		if step.epoch == "first" {
			f.claim(run, 5)
		}
	}
}

// reads is a queue in that epoch.
func reads(epoch string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return epoch, nil }
}

// TestOlderEpochIsNotFollowed has the queue emptied while a first scheduler is
// between the read of its epoch and what follows, and a second scheduler come by.
func TestOlderEpochIsNotFollowed(t *testing.T) {
	f, sql := openBeside(t)
	var queue atomic.Value
	queue.Store("first")
	second := make(chan claim.Followed, 1)
	reading := make(chan struct{})
	_, err := f.FollowEpoch(t.Context(), func(context.Context) (string, error) {
		epoch := queue.Load().(string)
		queue.Store("second")
		go func() {
			followed, err := f.FollowEpoch(t.Context(), func(context.Context) (string, error) {
				close(reading)
				return queue.Load().(string), nil
			})
			if err != nil {
				t.Error(err)
			}
			second <- followed
		}()
		for waiting := 0; waiting == 0; {
			select {
			case <-reading:
				t.Error("the second read the epoch while the first had one at hand")
				return epoch, nil
			default:
			}
			const query = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
			f.must(sql.GetContext(t.Context(), &waiting, query))
		}
		return epoch, nil
	})
	f.must(err)
	if got := <-second; got.Epoch != "second" || !got.Changed {
		t.Errorf("the second followed %+v, want the newer epoch, last", got)
	}
}

func TestRunIsElectedAndTakenOver(t *testing.T) {
	f := open(t)
	run := f.run()
	_, err := f.OpenRun(t.Context(), run, runs.Lease{Owner: "other", Until: noon}, noon)
	if !errors.Is(err, database.ErrConflict) {
		t.Errorf("second opening of a slot: got %v, want ErrConflict", err)
	}
	_, err = f.TakeOverRun(t.Context(), runs.Lease{Owner: "other", Until: noon}, noon)
	if !errors.Is(err, database.ErrNotFound) {
		t.Errorf("take over from a living owner: got %v, want ErrNotFound", err)
	}
	late := noon.Add(2 * time.Minute)
	taken, err := f.TakeOverRun(t.Context(), runs.Lease{Owner: "other", Until: late.Add(time.Minute)}, late)
	f.must(err)
	if taken.ID != run.ID || !taken.Cutoff.Equal(run.Cutoff) {
		t.Errorf("took over %+v, want %+v", taken, run)
	}
	kept, err := f.KeepRun(t.Context(), run.ID, runs.Lease{Owner: "test", Until: late})
	f.must(err)
	if kept {
		t.Error("the owner that was replaced kept the run")
	}
}

func TestReceiptsOfARunThatEndedAreFree(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	first := f.run()
	held := f.claim(first, 1)[0]
	f.end(first, runs.Finished)
	f.save(claim.Outcome{ReceiptID: held.ReceiptID, Generation: held.Generation, RunID: first.ID, BundleID: app, At: noon, Stays: true})
	if got := len(f.claim(f.manualRun(noon), 10)); got != 1 {
		t.Errorf("a receipt that was given back to a run that had ended: claimed %d, want 1", got)
	}
}

func TestReceiptsOfAnAbandonedRunAreFree(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	first := f.run()
	held := f.claim(first, 1)[0]
	f.save(claim.Outcome{ReceiptID: held.ReceiptID, Generation: held.Generation, RunID: first.ID, BundleID: app, At: noon, Stays: true})
	if got := len(f.claim(f.manualRun(noon), 10)); got != 0 {
		t.Errorf("a receipt that waits for a run with a living owner: claimed %d for another, want none", got)
	}
	late := noon.Add(2 * time.Minute)
	second := f.manualRun(late)
	claims, err := f.Claim(t.Context(), claim.Request{RunID: second.ID, Cutoff: late, Now: late, Until: late.Add(time.Minute), Ahead: time.Minute, Limit: 10})
	f.must(err)
	if len(claims) != 1 {
		t.Errorf("after its owner's lease: claimed %d, want 1", len(claims))
	}
}

func TestNightlyRunStaysOpenForASecret(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	nightly, manual := f.run(), f.manualRun(noon)
	for _, step := range []struct {
		reason                  string
		wantNightly, wantManual bool
	}{
		{apps.PausedSecretRefused, true, false},
		{apps.PausedNoSecret, true, false},
		{apps.PausedByPerson, false, false},
	} {
		_, err := f.PauseApp(t.Context(), app, step.reason, noon)
		f.must(err)
		for run, want := range map[runs.Run]bool{nightly: step.wantNightly, manual: step.wantManual} {
			got, err := f.HasWork(t.Context(), run, noon)
			f.must(err)
			if got != want {
				t.Errorf("%s run while the app is paused (%s): work left %t, want %t", run.Kind, step.reason, got, want)
			}
		}
		_, err = f.ResumeApp(t.Context(), app)
		f.must(err)
	}
}

func TestRetryStaysInTheRun(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	held := f.claim(run, 1)[0]
	f.save(claim.Outcome{
		ReceiptID: held.ReceiptID, Generation: held.Generation, RunID: run.ID, BundleID: app, At: noon,
		Asked: true, Calls: 1, Failure: "timeout", Stays: true,
		NextCheck: iap.Check{At: noon.Add(time.Second), Rule: iap.RuleRetry},
	})
	if got := f.claim(run, 10); len(got) != 0 {
		t.Errorf("claimed before its time: %v", got)
	}
	work, err := f.HasWork(t.Context(), run, noon)
	f.must(err)
	if !work {
		t.Error("a run with a receipt that waits has no work")
	}
	if got := f.totals(run); got.Done != 0 || got.Failed != 0 || got.Calls != 1 {
		t.Errorf("totals while it waits: %+v", got)
	}
	claims, err := f.Claim(t.Context(), claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: noon.Add(time.Second), Until: noon.Add(time.Minute), Ahead: time.Minute, Limit: 10,
	})
	f.must(err)
	if len(claims) != 1 || claims[0].Generation != held.Generation+1 {
		t.Errorf("after the wait: got %v, want the same receipt with the next generation", claims)
	}
	f.end(run, runs.Finished)
}
