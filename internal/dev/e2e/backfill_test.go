package e2e

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/runs"
	"revalidator/jobs"
	"revalidator/scheduler"
)

// backfillReceipts is how many receipts are asked about by a backfill that is
// interrupted. The race detector makes of 20,000 a matter of minutes, so that
// they are left to whoever sets the variable.
func backfillReceipts(t *testing.T) int {
	t.Helper()
	return receiptsFrom(t, "REVALIDATOR_TEST_BACKFILL_RECEIPTS", 2400)
}

// receiptsFrom is the number in a variable of the environment, for a larger
// test by hand, or the usual one.
func receiptsFrom(t *testing.T, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// TestBackfillInterruptedThreeTimes stops a backfill at each quarter, the second
// and third time with the worker, and resumes it: each receipt is asked about
// once, those in flight at an interruption too.
func TestBackfillInterruptedThreeTimes(t *testing.T) {
	t.Parallel()
	receipts := backfillReceipts(t)
	n := newNight(t, applesim.Config{Seed: 9, Customers: receipts}, 5000, 100)
	work := n.beside(n.worker().Run)
	defer func() { work() }()

	run, err := n.feeder("first", 20*time.Second).OpenBackfill(t.Context(), runs.Filter{}, 0.3, false)
	must(t, err)
	for quarter := 1; quarter <= 3; quarter++ {
		s := n.feeder("first", 20*time.Second)
		if quarter > 1 {
			s = n.feeder("after interruption "+strconv.Itoa(quarter-1), 20*time.Second)
			run, err = s.Resume(t.Context(), run.ID, runs.Backfill, false)
			must(t, err)
		}
		n.feedUntil(s, run, int64(quarter*receipts/4))
		if quarter > 1 {
			work()
			work = n.beside(n.worker().Run)
		}
	}
	s := n.feeder("last", 20*time.Second)
	run, err = s.Resume(t.Context(), run.ID, runs.Backfill, false)
	must(t, err)
	totals, err := s.Feed(t.Context(), run)
	must(t, err)

	want := int64(receipts)
	if totals.State != runs.Finished || totals.Counted() != want || totals.Done != want || totals.Calls != want || totals.Failed != 0 {
		t.Errorf("totals: %+v; want it finished, with %d due, done and calls", totals, want)
	}
	n.mustHaveAskedOnce(receipts)
	n.mustMatchTruth()
}

// feeder is a scheduler that keeps so much work queued and has no schedule.
func (n *night) feeder(name string, ahead time.Duration) *scheduler.Scheduler {
	n.t.Helper()
	s, err := scheduler.New(scheduler.Config{
		Store: n.openDB(), Queue: jobs.NewQueue(n.redis, 5*time.Minute), Owner: name,
		Feed: scheduler.FeedConfig{Tick: 20 * time.Millisecond, Ahead: ahead},
		Now:  n.now,
	})
	must(n.t, err)
	return s
}

// feedUntil feeds a backfill until so many of its receipts are done, and
// interrupts it.
func (n *night) feedUntil(s *scheduler.Scheduler, run runs.Run, done int64) {
	n.t.Helper()
	ctx, interrupt := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Feed(ctx, run)
		ended <- err
	}()
	n.until("a part of the backfill is done", func() bool { return n.totals(run).Done >= done })
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		n.t.Fatalf("end of the feed: got %v, want %v", err, context.Canceled)
	}
	changed, err := s.InterruptBackfill(n.t.Context(), run.ID)
	must(n.t, err)
	if !changed {
		n.t.Fatal("the backfill was not interrupted")
	}
}

func (n *night) totals(run runs.Run) runs.Totals {
	n.t.Helper()
	totals, err := n.db.RunTotals(n.t.Context(), run.ID)
	must(n.t, err)
	return totals
}

// until polls until a condition holds.
func (n *night) until(what string, holds func() bool) {
	n.t.Helper()
	timeout := time.After(patience)
	for poll := time.NewTicker(5 * time.Millisecond); !holds(); {
		select {
		case <-poll.C:
		case <-timeout:
			n.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// TestRunBesideBackfill opens a run while a backfill of other receipts has the
// workers for itself: as long as both have work, the run makes most of the
// calls of each app. It has 2,400 receipts, half of them the backfill's, or
// REVALIDATOR_TEST_BESIDE_RECEIPTS.
func TestRunBesideBackfill(t *testing.T) {
	t.Parallel()
	const (
		rate  = 150.0
		burst = 10
		ahead = 500 * time.Millisecond
		least = 0.65
	)
	receipts := receiptsFrom(t, "REVALIDATOR_TEST_BESIDE_RECEIPTS", 2400)
	n := newNight(t, applesim.Config{Seed: 10, Customers: receipts}, rate, burst)
	var others runs.Filter // the run begins with the lower ids
	for id := receipts/2 + 1; id <= receipts; id++ {
		others.IDs = append(others.IDs, int64(id))
	}
	ctx, stop := context.WithCancel(t.Context())
	feeder := n.feeder("backfill", ahead)
	backfill, err := feeder.OpenBackfill(ctx, others, 0.3, false)
	must(t, err)
	end := n.beside(n.worker().Run, func(context.Context) error {
		_, err := feeder.Feed(ctx, backfill)
		return ignoreCanceled(err)
	})
	n.until("the backfill is at work", func() bool { return n.totals(backfill).Done > 100 })

	s := n.feeder("run", ahead)
	run, err := s.Open(ctx)
	must(t, err)
	endRun := n.beside(func(context.Context) error {
		_, err := s.Feed(ctx, run)
		return ignoreCanceled(err)
	})
	// What the backfill had queued before comes first.
	n.until("the run is at work", func() bool { return n.totals(run).Done > 20 })
	runBefore, before := n.calls(run), n.calls(backfill)
	n.until("most of the run is done", func() bool { return n.totals(run).Done >= int64(receipts/2-200) })
	after, beside := n.calls(run), n.calls(backfill)
	left := n.totals(backfill)
	stop()
	endRun()
	end()

	if left.Done >= left.Counted() {
		t.Fatal("the backfill had no work left: the comparison proves nothing")
	}
	for app := range after {
		ofRun, ofBackfill := after[app]-runBefore[app], beside[app]-before[app]
		part := float64(ofRun) / float64(ofRun+ofBackfill)
		t.Logf("%s: %d calls of the run, %d of the backfill: %.2f", app, ofRun, ofBackfill, part)
		if part < least || part > 0.95 {
			t.Errorf("%s: the run made %.2f of the calls, want %.2f at least, and some for the backfill", app, part, least)
		}
	}
}

// calls are the calls that a run has made for each app.
func (n *night) calls(run runs.Run) map[string]int {
	n.t.Helper()
	calls := make(map[string]int)
	for _, app := range n.apps() {
		calls[app] = n.count(`SELECT coalesce(sum(calls), 0) FROM run_apps
			WHERE run_id = ` + strconv.FormatInt(run.ID, 10) + ` AND bundle_id = '` + app + `'`)
	}
	return calls
}

func (n *night) apps() []string {
	n.t.Helper()
	apps, err := n.db.Apps(n.t.Context())
	must(n.t, err)
	names := make([]string, len(apps))
	for i, a := range apps {
		names[i] = a.BundleID
	}
	return names
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
