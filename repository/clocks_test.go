package repository_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

func TestTime(t *testing.T) {
	f := open(t)
	now, err := f.Time(t.Context())
	f.must(err)
	if off := time.Until(now).Abs(); off > time.Minute {
		t.Errorf("Postgres of this machine is off by %s", off)
	}
}

// differ notes n replies of production that differ by an hour, and returns how
// many callers were told that the clock is wrong.
func (f fixture) differ(n int) (told int) {
	f.t.Helper()
	for range n {
		_, wrong, err := f.ClockDiffered(f.t.Context(), iap.Production, clock.Reply{At: noon, Ahead: time.Hour}, false)
		f.must(err)
		if wrong {
			told++
		}
	}
	return told
}

func (f fixture) clocks() []clock.Endpoint {
	f.t.Helper()
	clocks, err := f.EndpointClocks(f.t.Context())
	f.must(err)
	return clocks
}

// TestClockIsSharedByAll keeps what replies say of the time where every process
// reads it.
func TestClockIsSharedByAll(t *testing.T) {
	f := open(t)
	if got := f.clocks(); len(got) != 0 {
		t.Errorf("before: got %+v, want nothing", got)
	}
	f.differ(2)
	reply := clock.Reply{At: noon, Ahead: time.Hour}
	want := []clock.Endpoint{{Environment: iap.Production, Replies: []clock.Reply{reply, reply}}}
	if diff := cmp.Diff(want, f.clocks()); diff != "" {
		t.Errorf("after two replies (-want +got)\n%s", diff)
	}
	if wrong, err := f.WrongClocks(t.Context()); err != nil || len(wrong) != 0 {
		t.Errorf("after two replies: got %+v and %v, want none that is wrong", wrong, err)
	}
	f.differ(1)
	since := noon
	want = []clock.Endpoint{{
		Environment: iap.Production, HeldSince: &since, Ahead: time.Hour, NextProbeAt: noon.Add(time.Minute), Replies: []clock.Reply{},
	}}
	wrong, err := f.WrongClocks(t.Context())
	f.must(err)
	if diff := cmp.Diff(want, wrong); diff != "" {
		t.Errorf("after three replies (-want +got)\n%s", diff)
	}
}

// TestOneIsToldThatTheClockIsWrong of many workers that find out at once.
func TestOneIsToldThatTheClockIsWrong(t *testing.T) {
	f := open(t)
	var told atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { told.Add(int64(f.differ(1))) })
	}
	all.Wait()
	if told.Load() != 1 {
		t.Errorf("%d were told, want 1", told.Load())
	}
}

// TestAgreeingEndsSuspicion, and never a hold.
func TestAgreeingEndsSuspicion(t *testing.T) {
	f := open(t)
	agree := func(probe, wantOver bool, wantLeft int) {
		t.Helper()
		_, over, err := f.ClockAgreed(t.Context(), iap.Production, noon, probe)
		f.must(err)
		if left := len(f.clocks()); over != wantOver || left != wantLeft {
			t.Errorf("over %v with %d rows left, want %v and %d", over, left, wantOver, wantLeft)
		}
	}
	agree(false, false, 0) // nothing is suspected
	f.differ(2)
	agree(false, false, 0)
	f.differ(3)
	agree(false, false, 1)
	agree(true, false, 1)
	agree(false, false, 1)
	agree(true, true, 0)
}

// TestOneProbeAMinute over all workers.
func TestOneProbeAMinute(t *testing.T) {
	f := open(t)
	claim := func(at time.Duration) int64 {
		t.Helper()
		var claimed atomic.Int64
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				ok, err := f.ClaimClockProbe(t.Context(), iap.Production, noon.Add(at))
				if err != nil {
					t.Error(err)
				}
				if ok {
					claimed.Add(1)
				}
			})
		}
		all.Wait()
		return claimed.Load()
	}
	if n := claim(0); n != 0 {
		t.Errorf("%d probes while nothing is held", n)
	}
	f.differ(3)
	for _, step := range []struct {
		at   time.Duration
		want int64
	}{
		{0, 0}, {time.Minute, 1}, {time.Minute, 0}, {119 * time.Second, 0}, {2 * time.Minute, 1},
		{-time.Hour, 1}, // the clock was set back
		{-time.Hour, 0},
	} {
		if n := claim(step.at); n != step.want {
			t.Errorf("%s after: %d probes, want %d", step.at, n, step.want)
		}
	}
}

// TestAgreeingAndDifferingAtOnce never fails, though the row comes and goes.
func TestAgreeingAndDifferingAtOnce(t *testing.T) {
	f := open(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				f.differ(1)
			}
		})
		all.Go(func() {
			for range 25 {
				if _, _, err := f.ClockAgreed(t.Context(), iap.Production, noon, true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestDueByAppleTime claims what is due by the clock of Apple's dates, under a
// lease by the shared one.
func TestDueByAppleTime(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	for due, want := range map[time.Duration]int{-time.Second: 0, 0: 1} {
		r := claim.Request{
			RunID: run.ID, Cutoff: run.Cutoff, Now: noon.Add(-24 * time.Hour), Until: noon.Add(time.Minute),
			Due: noon.Add(due), Ahead: time.Minute, Limit: 10, Held: claim.Held{},
		}
		claims, err := f.Claim(t.Context(), r)
		f.must(err)
		if len(claims) != want {
			t.Errorf("due %s from then: %d claims, want %d", due, len(claims), want)
		}
		f.save(disregarded(claims, run, true)...)
	}
}

// disregarded are outcomes of replies whose time is not believed.
func disregarded(claims []claim.Claim, run runs.Run, stays bool) []claim.Outcome {
	var outcomes []claim.Outcome
	for _, c := range claims {
		outcomes = append(outcomes, claim.Outcome{
			ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID, At: noon,
			Calls: 1, Failure: "clock_differs", Stays: stays, NextCheck: iap.Check{At: noon.Add(time.Hour), Rule: iap.RuleClockDiffers},
		})
	}
	return outcomes
}

// TestDisregardedReply changes nothing of its receipt but when it is checked
// again, and is counted where it was asked for.
func TestDisregardedReply(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	stored := func() (state []any) {
		r, err := f.StoredReceipt(t.Context(), 1)
		f.must(err)
		return []any{r.State, r.Environment, r.LastCheckedAt, r.LastCode, r.LastError, r.ConsecutiveFailures}
	}
	before := stored()
	for _, stays := range []bool{true, false} {
		claims := f.claim(run, 10)
		if len(claims) != 1 {
			t.Fatalf("%d claims, want 1", len(claims))
		}
		f.save(disregarded(claims, run, stays)...)
		if diff := cmp.Diff(before, stored()); diff != "" {
			t.Errorf("receipt (-before +after)\n%s", diff)
		}
		r, err := f.StoredReceipt(t.Context(), 1)
		f.must(err)
		if !r.NextCheckAt.Equal(noon.Add(time.Hour)) || r.NextCheckRule != iap.RuleClockDiffers || (r.RunID != nil) != stays {
			t.Errorf("next check %v by %s in run %v, want one in an hour, and in the run: %v", r.NextCheckAt, r.NextCheckRule, r.RunID, stays)
		}
		_, err = f.Recheck(t.Context(), []int64{1}, noon)
		f.must(err)
	}
	if got := f.totals(run); got.Done != 1 || got.Failed != 1 || got.Calls != 2 {
		t.Errorf("totals %+v: want one that left the run without an answer, after two calls", got)
	}
	failures, err := f.RunFailures(t.Context(), run.ID)
	f.must(err)
	if len(failures) != 1 || failures[0].Class != "clock_differs" || failures[0].Answers != 2 {
		t.Errorf("failures %+v, want both", failures)
	}
}

// TestCheckOfACorrectedClock has two receipts that were to be checked again soon: by a
// clock that was a year ahead, or behind, or by the right one, where a reply was wrong.
// Once the clock is right they are due soon, and none is due before its time, so that
// Apple is not asked again and again.
func TestCheckOfACorrectedClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		next iap.Check
		want time.Duration // from noon
	}{
		"a clock a year ahead, in a minute":    {iap.Check{At: noon.Add(year + time.Minute), Rule: iap.RuleClockDiffers}, 0},
		"a clock a year ahead, in an hour":     {iap.Check{At: noon.Add(year + time.Hour), Rule: iap.RuleClockDiffers}, 0},
		"a clock a year behind":                {iap.Check{At: noon.Add(time.Minute - year), Rule: iap.RuleClockDiffers}, time.Minute - year},
		"a reply a year ahead or behind":       {iap.Check{At: noon.Add(time.Minute), Rule: iap.RuleClockDiffers}, time.Minute},
		"another one":                          {iap.Check{At: noon.Add(75 * time.Minute), Rule: iap.RuleClockDiffers}, 75 * time.Minute},
		"a renewal, which may lie far ahead":   {iap.Check{At: noon.Add(30 * 24 * time.Hour), Rule: iap.RuleRenewal}, 30 * 24 * time.Hour},
		"a retry, which has a back-off of its": {iap.Check{At: noon.Add(6 * time.Hour), Rule: iap.RuleRetry}, 6 * time.Hour},
	} {
		for by, correct := range map[string]func(f fixture){
			"the next run": func(f fixture) {
				f.manualRun(noon)
			},
			"probes that agree": func(f fixture) {
				f.differ(3)
				for range 2 {
					_, _, err := f.ClockAgreed(t.Context(), iap.Production, noon, true)
					f.must(err)
				}
			},
		} {
			t.Run(name+", corrected by "+by, func(t *testing.T) {
				f := open(t)
				f.receipts(app, 1)
				run := f.run()
				outcomes := disregarded(f.claim(run, 10), run, true)
				outcomes[0].NextCheck = test.next
				f.save(outcomes...)
				f.end(run, runs.Finished)
				correct(f)
				r, err := f.StoredReceipt(t.Context(), 1)
				f.must(err)
				if got := r.NextCheckAt.Sub(noon); got != test.want || r.NextCheckRule != test.next.Rule {
					t.Errorf("next check %s after noon by %s, want %s by %s", got, r.NextCheckRule, test.want, test.next.Rule)
				}
			})
		}
	}
}

// TestDisregardedReplyLeavesItsBackfill, which else would go through the receipt
// again and again: it was not checked.
func TestDisregardedReplyLeavesItsBackfill(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run := f.backfill(runs.Filter{}, 1)
	claims := f.claimItems(run, 10)
	if len(claims) != 2 {
		t.Fatalf("%d claims, want 2", len(claims))
	}
	f.save(append(disregarded(claims[:1], run, false), disregarded(claims[1:], run, true)...)...)
	if again := f.claimItems(run, 10); len(again) != 0 {
		t.Errorf("%d claims before the wait is over, want none", len(again))
	}
	if !f.hasItems(run) {
		t.Error("nothing is left, want the one that waits")
	}
	_, err := f.Recheck(t.Context(), []int64{claims[1].ReceiptID}, noon)
	f.must(err)
	rest := f.claimItems(run, 10)
	if len(rest) != 1 || rest[0].ReceiptID != claims[1].ReceiptID {
		t.Fatalf("claims %+v, want the one that waited", rest)
	}
	f.save(success(rest[0], run, noon))
	if f.hasItems(run) {
		t.Error("the backfill goes on for the one that has left it")
	}
}
