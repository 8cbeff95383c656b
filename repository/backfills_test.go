package repository_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// backfill opens a backfill at noon.
func (f fixture) backfill(filter runs.Filter, share float64) runs.Run {
	f.t.Helper()
	return f.backfillAt(noon, filter, share)
}

func (f fixture) backfillAt(slot time.Time, filter runs.Filter, share float64) runs.Run {
	f.t.Helper()
	run, err := f.OpenBackfill(f.t.Context(), runs.Run{
		Kind: runs.Backfill, ScheduledFor: slot, Cutoff: noon, Deadline: noon.Add(day), Share: share,
	}, filter, runs.Lease{Owner: "test", Until: noon.Add(time.Minute)}, noon)
	f.must(err)
	f.must(f.ChooseItems(f.t.Context(), run.ID, noon))
	return run
}

const day = 24 * time.Hour

func (f fixture) claimItems(run runs.Run, limit int) []claim.Claim {
	f.t.Helper()
	claims, err := f.ClaimItems(f.t.Context(), claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: noon, Until: noon.Add(time.Minute),
		Ahead: time.Minute, Share: run.Share, Limit: limit,
	})
	f.must(err)
	return claims
}

func (f fixture) hasItems(run runs.Run) bool {
	f.t.Helper()
	has, err := f.HasItems(f.t.Context(), run)
	f.must(err)
	return has
}

func TestFilter(t *testing.T) {
	f := open(t)
	f.addApp("com.example.other", 1)
	f.receipts(app, 4)
	f.receipts("com.example.other", 1)
	run := f.run()
	claims := f.claim(run, 1000)
	byApp := map[string][]claim.Claim{}
	for _, c := range claims {
		byApp[c.BundleID] = append(byApp[c.BundleID], c)
	}
	active := success(byApp[app][0], run, noon)
	expired := success(byApp[app][1], run, noon)
	expired.Conclusion.Subscriptions[0].OriginalTransactionID = "2000"
	expired.Conclusion.Subscriptions[0].Status = iap.StatusExpired
	expired.Conclusion.Subscriptions[0].ExpiresDate = noon.Add(-day)
	failed := claim.Outcome{
		ReceiptID: byApp[app][2].ReceiptID, Generation: byApp[app][2].Generation, BundleID: app, At: noon,
		Asked: true, Failure: "timeout", State: iap.ReceiptMalformed, NextCheck: iap.Check{At: noon, Rule: iap.RuleRetry},
	}
	f.save(active, expired, failed)

	tests := []struct {
		name   string
		filter runs.Filter
		want   []int64 // by app and status, in order
	}{
		{"everything", runs.Filter{}, []int64{1, 1, 1, 2}},
		{"app", runs.Filter{BundleIDs: []string{"com.example.other"}}, []int64{1}},
		{"status", runs.Filter{Statuses: []iap.Status{iap.StatusExpired, iap.StatusRevoked}}, []int64{1}},
		{"expiring from", runs.Filter{ExpiresFrom: noon}, []int64{1}},
		{"expiring until", runs.Filter{ExpiresUntil: noon}, []int64{1}},
		{"expired and expiring tomorrow: no subscription is both", runs.Filter{Statuses: []iap.Status{iap.StatusExpired}, ExpiresFrom: noon}, nil},
		{"state", runs.Filter{States: []iap.ReceiptState{iap.ReceiptMalformed}}, []int64{1}},
		{"last result", runs.Filter{LastResults: []string{"timeout"}}, []int64{1}},
		{"last result ok", runs.Filter{LastResults: []string{runs.ResultOK}}, []int64{1, 1}},
		{"checked before, or never", runs.Filter{CheckedBefore: noon}, []int64{1, 1}},
		{"customer of two apps", runs.Filter{CustomerRefs: []string{"customer-0"}}, []int64{1, 1}},
		{"ids", runs.Filter{IDs: []int64{active.ReceiptID, 999}}, []int64{1}},
	}
	for _, test := range tests {
		counts, err := f.CountChosen(t.Context(), test.filter)
		f.must(err)
		var got []int64
		for _, c := range counts {
			got = append(got, c.Receipts)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %+v (-want +got)\n%s", test.name, counts, diff)
		}
	}
}

// TestBackfillByShares: a held app waits, and goes on where it was.
func TestBackfillByShares(t *testing.T) {
	f := open(t)
	f.receipts(app, 5)
	run := f.backfill(runs.Filter{}, 1)
	for _, test := range []struct {
		shares map[string]float64
		want   int
	}{
		{map[string]float64{app + "/verify_receipt:Production": 0}, 0},
		{map[string]float64{app + "/verify_receipt:Production": 1.0 / 60000}, 2}, // 1 a minute and a burst of 1
		{nil, 3},
	} {
		claims, err := f.ClaimItems(t.Context(), claim.Request{
			RunID: run.ID, Cutoff: run.Cutoff, Now: noon, Until: noon.Add(time.Minute),
			Ahead: time.Minute, Share: run.Share, Limit: 1000, Shares: test.shares,
		})
		f.must(err)
		if len(claims) != test.want {
			t.Errorf("shares %v: claimed %d, want %d", test.shares, len(claims), test.want)
		}
	}
}

func TestBackfillAsksEachOnce(t *testing.T) {
	f := open(t)
	f.receipts(app, 30)
	run := f.backfill(runs.Filter{}, 1)
	if got := f.totals(run).Counted(); got != 30 {
		t.Errorf("due: got %d, want 30", got)
	}
	seen := map[int64]int{}
	for _, c := range f.claimItems(run, 10) {
		seen[c.ReceiptID]++
		f.save(success(c, run, noon))
	}
	// Another run asks about some of the rest meanwhile, or holds them.
	nightly := f.run()
	held := f.claim(nightly, 10)
	for _, c := range held[:5] {
		seen[c.ReceiptID]++
		f.save(success(c, nightly, noon))
	}
	for _, c := range f.claimItems(run, 100) {
		seen[c.ReceiptID]++
		f.save(success(c, run, noon))
	}
	if !f.hasItems(run) {
		t.Error("does not wait for what another run has with the workers")
	}
	// The other run loses what it held.
	_, err := f.ReleaseExpired(t.Context(), noon.Add(2*time.Minute))
	f.must(err)
	f.end(nightly, runs.Finished)
	if !f.hasItems(run) {
		t.Fatal("what was passed by is forgotten")
	}
	for _, c := range f.claimItems(run, 100) {
		seen[c.ReceiptID]++
		f.save(success(c, run, noon))
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("receipt %d was asked about %d times", id, times)
		}
	}
	if len(seen) != 30 || f.hasItems(run) {
		t.Errorf("%d of 30 asked about, work left: %t", len(seen), f.hasItems(run))
	}
}

func TestBackfillTakesItsShare(t *testing.T) {
	f := open(t)
	f.addApp("com.example.ten", 10)
	f.receipts("com.example.ten", 700)
	run := f.backfill(runs.Filter{}, 0.3)
	mine := len(f.claimItems(run, 5000))
	if mine != 180 { // three tenths of a minute's work and the burst
		t.Errorf("backfill claimed %d, want 180", mine)
	}
	if again := len(f.claimItems(run, 5000)); again != 0 {
		t.Errorf("and %d more while those are in hand", again)
	}
	if rest := len(f.claim(f.run(), 5000)); rest != 601-180 {
		t.Errorf("the nightly run claimed %d, want all the rest, %d", rest, 601-180)
	}
}

func TestBackfillRetriesAndLosesNothing(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run := f.backfill(runs.Filter{}, 1)
	claims := f.claimItems(run, 10)
	f.save(claim.Outcome{
		ReceiptID: claims[0].ReceiptID, Generation: claims[0].Generation, RunID: run.ID, BundleID: app, At: noon,
		Asked: true, Failure: "timeout", Stays: true, NextCheck: iap.Check{At: noon.Add(time.Second), Rule: iap.RuleRetry},
	})
	if got := f.claimItems(run, 10); len(got) != 0 || !f.hasItems(run) {
		t.Errorf("before its time: claimed %v, work left %t", got, f.hasItems(run))
	}
	_, err := f.ReleaseExpired(t.Context(), noon.Add(2*time.Minute))
	f.must(err)
	if got := f.claimItems(run, 10); len(got) != 1 || got[0].ReceiptID != claims[1].ReceiptID {
		t.Errorf("after its claim ran out: claimed %v, want receipt %d", got, claims[1].ReceiptID)
	}
}

func TestBackfillIsInterruptedResumedAndCancelled(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run := f.backfill(runs.Filter{}, 0.5)
	resume := func() (runs.Run, error) {
		return f.ResumeRun(t.Context(), run.ID, runs.Lease{Owner: "b", Until: noon.Add(time.Minute)}, noon.Add(day), noon)
	}
	if _, err := resume(); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("resume while it is fed: got %v, want ErrNotFound", err)
	}
	f.end(run, runs.Interrupted)
	got, err := resume()
	f.must(err)
	if got.ID != run.ID || got.Share != 0.5 {
		t.Errorf("resumed %+v, want run %d with its share", got, run.ID)
	}
	for _, want := range []bool{true, false} {
		changed, err := f.CancelRun(t.Context(), run.ID, noon)
		f.must(err)
		if changed != want {
			t.Errorf("cancel: changed %t, want %t", changed, want)
		}
	}
	if _, err := resume(); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("resume after the cancellation: got %v, want ErrNotFound", err)
	}
}

// TestRoomOfBackfills is the table of how much a backfill may have with the
// workers. The app may have 600 receipts there, and one more for its burst.
func TestRoomOfBackfills(t *testing.T) {
	tests := []struct {
		name   string
		share  float64
		limit  int
		before func(f fixture) // what others have with the workers
		want   int
	}{
		{name: "share", share: 0.5, limit: 5000, want: 300},
		{name: "alone with a small share", share: 0.01, limit: 5000, want: 180},
		{name: "small share beside a run", share: 0.01, limit: 5000, before: func(f fixture) { f.claim(f.run(), 100) }, want: 6},
		{name: "hardly any share beside a run", share: 0.0001, limit: 5000, before: func(f fixture) { f.claim(f.run(), 100) }, want: 1},
		{name: "what a run leaves", share: 0.3, limit: 5000, before: func(f fixture) { f.claim(f.run(), 550) }, want: 51},
		{name: "another backfill has some of the share", share: 0.3, limit: 5000, before: func(f fixture) {
			f.claimItems(f.backfillAt(noon.Add(time.Second), runs.Filter{}, 0.1), 100) // 30 of 100
		}, want: 150},
		{name: "another backfill has all of it", share: 0.3, limit: 5000, before: func(f fixture) {
			f.claimItems(f.backfillAt(noon.Add(time.Second), runs.Filter{}, 0.5), 5000)
		}, want: 0},
		{name: "less depth than room", share: 0.3, limit: 100, want: 30},
		{name: "no depth left", share: 0.3, limit: 0, want: 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := open(t)
			f.addApp("com.example.ten", 10)
			f.receipts("com.example.ten", 700)
			run := f.backfill(runs.Filter{}, test.share)
			if test.before != nil {
				test.before(f)
			}
			if got := len(f.claimItems(run, test.limit)); got != test.want {
				t.Errorf("claimed %d, want %d", got, test.want)
			}
		})
	}
}

// TestDepthIsForAllApps has a backfill of many apps keep to the depth of the
// queue, and to its share of that.
func TestDepthIsForAllApps(t *testing.T) {
	f := open(t)
	const apps = 20
	for i := range apps {
		name := fmt.Sprintf("com.example.app%d", i)
		f.addApp(name, 10)
		f.receipts(name, 50)
	}
	run := f.backfill(runs.Filter{}, 0.3)
	if got := len(f.claimItems(run, 200)); got != 60 { // of each app 3, three tenths of a twentieth
		t.Errorf("claimed %d of a depth of 200, want 60", got)
	}
}

// TestOldRetriesDoNotWait has a receipt that failed long before the backfill
// given back unasked: the wait for its next try says nothing about now.
func TestOldRetriesDoNotWait(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	nightly := f.run()
	yesterday := noon.Add(-day)
	c := f.claim(nightly, 1)[0]
	f.save(claim.Outcome{
		ReceiptID: c.ReceiptID, Generation: c.Generation, BundleID: app, At: yesterday, Asked: true,
		Failure: "apple_internal_error", NextCheck: iap.Check{At: noon.Add(day), Rule: iap.RuleRetry},
	})
	run := f.backfill(runs.Filter{}, 1)
	c = f.claimItems(run, 1)[0]
	f.save(claim.Outcome{ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: app, At: noon, Stays: true})
	if got := f.claimItems(run, 1); len(got) != 1 {
		t.Errorf("claimed %v, want the receipt that was given back", got)
	}
}

func TestEndOfBackfills(t *testing.T) {
	tests := []struct {
		name   string
		paused bool
		want   runs.State
	}{
		{"nothing left", false, runs.Finished},
		{"receipts of a paused app left", true, runs.Interrupted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := open(t)
			f.receipts(app, 1)
			run := f.backfill(runs.Filter{}, 1)
			if test.paused {
				_, err := f.PauseApp(t.Context(), app, "test", noon)
				f.must(err)
			} else {
				f.save(success(f.claimItems(run, 1)[0], run, noon))
			}
			if f.hasItems(run) {
				t.Error("there is something left to claim")
			}
			_, err := f.EndBackfill(t.Context(), run, noon)
			f.must(err)
			if got := f.totals(run).State; got != test.want {
				t.Errorf("state: got %s, want %s", got, test.want)
			}
		})
	}
}

func TestInterruptBackfillIsForItsOwner(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.backfill(runs.Filter{}, 1)
	for owner, want := range map[string]bool{"another": false, "test": true} {
		changed, err := f.InterruptBackfill(t.Context(), run.ID, owner, noon)
		f.must(err)
		if changed != want {
			t.Errorf("interrupted by %s: %t, want %t", owner, changed, want)
		}
	}
}

func TestOpenBackfillOfNothing(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	for _, test := range []struct {
		customer string
		want     bool
	}{{"nobody", true}, {"customer-0", false}} {
		run := f.backfill(runs.Filter{CustomerRefs: []string{test.customer}}, 1)
		dropped, err := f.DropEmpty(t.Context(), run.ID)
		f.must(err)
		if dropped != test.want {
			t.Errorf("backfill of %s dropped: %t, want %t", test.customer, dropped, test.want)
		}
	}
	runs, err := f.Backfills(t.Context(), 10)
	f.must(err)
	if len(runs) != 1 {
		t.Errorf("backfills that are left: %+v, want one", runs)
	}
}

// TestChoosingGoesOn has the process die that chooses the receipts of a backfill, and
// another take it over: it goes on where the first was. What comes in later is not
// chosen.
func TestChoosingGoesOn(t *testing.T) {
	f := openRaw(t)
	f.receipts(app, 5)
	for name, filter := range map[string]runs.Filter{
		"all": {}, "an app": {BundleIDs: []string{app}}, "ids": {IDs: []int64{5, 1, 3, 4, 99}},
	} {
		run, err := f.OpenBackfill(t.Context(), runs.Run{
			Kind: runs.Backfill, ScheduledFor: noon, Cutoff: noon, Deadline: noon.Add(day), Share: 1,
		}, filter, runs.Lease{Owner: "dead", Until: noon}, noon)
		f.must(err)
		if got := f.totals(run); got.Due != nil {
			t.Errorf("%s: due before anything is chosen: %d, want it unknown", name, *got.Due)
		}
		// As a first step would leave it, but for the receipts that it chose.
		_, err = f.raw.ExecContext(t.Context(), `UPDATE runs SET chosen_up_to = 2, choose_up_to = 4 WHERE id = $1`, run.ID)
		f.must(err)
		for range 2 {
			f.must(f.ChooseItems(t.Context(), run.ID, noon))
		}
		f.mustTerms(name, run, terms{2, 0, 0, 0, 2})
		f.end(run, runs.Cancelled)
		if err := f.ChooseItems(t.Context(), run.ID, noon); err != nil {
			t.Errorf("%s: choosing what is chosen: %v", name, err)
		}
	}
}

// TestChoosingStopsWithItsRun has a run cancelled before its receipts are chosen.
func TestChoosingStopsWithItsRun(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run, err := f.OpenBackfill(t.Context(), runs.Run{
		Kind: runs.Backfill, ScheduledFor: noon, Cutoff: noon, Deadline: noon.Add(day), Share: 1,
	}, runs.Filter{}, runs.Lease{Owner: "test", Until: noon}, noon)
	f.must(err)
	_, err = f.CancelRun(t.Context(), run.ID, noon)
	f.must(err)
	if err := f.ChooseItems(t.Context(), run.ID, noon); !errors.Is(err, runs.ErrLost) {
		t.Errorf("got %v, want %v", err, runs.ErrLost)
	}
}

// TestChecksByOthersLeaveABackfill has another run check a part of it first.
func TestChecksByOthersLeaveABackfill(t *testing.T) {
	f := open(t)
	f.receipts(app, 6)
	backfill, nightly := f.backfill(runs.Filter{}, 1), f.run()
	f.mustTerms("opened", backfill, terms{6, 0, 0, 0, 6})
	for _, c := range f.claim(nightly, 2) {
		f.save(success(c, nightly, noon))
	}
	for _, c := range f.claimItems(backfill, 10) {
		f.save(success(c, backfill, noon))
	}
	f.mustTerms("done", backfill, terms{6, 4, 0, 2, 0})
	if f.hasItems(backfill) {
		t.Error("the backfill has something left")
	}
	_, err := f.EndBackfill(t.Context(), backfill, noon)
	f.must(err)
	f.mustTerms("finished", backfill, terms{6, 4, 0, 2, 0})
	// What the backfill took is missing from the other run, which finds out at its end.
	f.end(nightly, runs.Finished)
	f.mustTerms("the nightly run", nightly, terms{6, 2, 0, 4, 0})
}

// TestBackfillKeepsItsFilter stores how many ids there were, and not the ids.
func TestBackfillKeepsItsFilter(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	f.backfill(runs.Filter{BundleIDs: []string{app}, IDs: []int64{1, 2}}, 1)
	runs, err := f.Backfills(t.Context(), 10)
	f.must(err)
	if len(runs) != 1 || runs[0].Filter == nil || *runs[0].Filter != `{"ids": 2, "apps": ["`+app+`"]}` {
		t.Errorf("got %+v", runs)
	}
}

// TestCancelledRunIsKnownToWorkers has a worker come to a task whose run a
// person has cancelled.
func TestCancelledRunIsKnownToWorkers(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.backfill(runs.Filter{}, 1)
	c := f.claimItems(run, 1)[0]
	for _, want := range []bool{false, true} {
		r, err := f.ClaimedReceipt(t.Context(), c.ReceiptID, c.Generation)
		f.must(err)
		if r.RunCancelled != want {
			t.Errorf("cancelled: got %t, want %t", r.RunCancelled, want)
		}
		_, err = f.CancelRun(t.Context(), run.ID, noon)
		f.must(err)
	}
}

// TestKeysHoldNobodyUp has somebody link to receipts, whose keys are locked until the
// commit. Runs claim them all the same.
func TestKeysHoldNobodyUp(t *testing.T) {
	t.Parallel()
	db, raw := openBoth(t, repositorytest.URL(t))
	f := fixture{db, t}
	f.addApp(app, 1000)
	f.receipts(app, 4)
	run, backfill := f.run(), f.backfill(runs.Filter{}, 1)
	tx, err := raw.BeginTx(t.Context(), nil)
	f.must(err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), `SELECT id FROM receipts FOR KEY SHARE`)
	f.must(err)
	if got := len(f.claim(run, 2)); got != 2 {
		t.Errorf("the run claimed %d, want 2", got)
	}
	if got := len(f.claimItems(backfill, 2)); got != 2 {
		t.Errorf("the other backfill claimed %d, want 2", got)
	}
}

// TestBackfillLocksItsAppsInOrder has outcomes counted for the first app while a
// backfill claims. It waits for that without holding the second, for which the
// other would wait in turn.
func TestBackfillLocksItsAppsInOrder(t *testing.T) {
	t.Parallel()
	const first, second = "com.example.a", "com.example.b"
	db, raw := openBoth(t, repositorytest.URL(t))
	f := fixture{db, t}
	for _, name := range []string{first, second} {
		f.addApp(name, 10)
		f.receipts(name, 4)
	}
	run := f.backfill(runs.Filter{}, 1)
	// Whoever goes through the table comes to the second one first.
	_, err := raw.ExecContext(t.Context(), `UPDATE run_apps SET calls = calls WHERE bundle_id = $1`, first)
	f.must(err)
	tx, err := raw.BeginTx(t.Context(), nil)
	f.must(err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), `UPDATE run_apps SET calls = calls WHERE bundle_id = $1`, first)
	f.must(err)
	claimed := make(chan []claim.Claim, 1)
	go func() { claimed <- f.claimItems(run, 8) }()
	f.awaitWaiter(raw)
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM run_apps WHERE bundle_id = $1 FOR NO KEY UPDATE NOWAIT`, second); err != nil {
		t.Errorf("the second app: %v", err)
	}
	f.must(tx.Rollback())
	if got := len(<-claimed); got != 8 {
		t.Errorf("claimed %d, want 8", got)
	}
}

// awaitWaiter returns once a transaction of the database waits for another.
func (f fixture) awaitWaiter(raw *sql.DB) {
	f.t.Helper()
	deadline := time.After(20 * time.Second)
	for poll := time.NewTicker(5 * time.Millisecond); ; {
		var waits bool
		f.must(raw.QueryRowContext(f.t.Context(), `SELECT EXISTS (
			SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits))
		if waits {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			f.t.Fatal("nobody waits")
		}
	}
}

func TestForgetLeavesNoFilterBehind(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run := f.backfill(runs.Filter{CustomerRefs: []string{"customer-0", "customer-1"}}, 1)
	_, err := f.Forget(t.Context(), "customer-1", "", policies, noon)
	f.must(err)
	totals := f.totals(run)
	if totals.Filter == nil || strings.Contains(*totals.Filter, "customer-1") || !strings.Contains(*totals.Filter, "customer-0") {
		t.Errorf("filter of the backfill: %v; want customer-0 and not customer-1", *totals.Filter)
	}
}
