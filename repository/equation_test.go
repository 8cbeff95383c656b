package repository_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// terms are those of the equation of runs.
type terms struct{ Due, Succeeded, Failed, Released, InRun int64 }

func (f fixture) terms(run runs.Run) terms {
	f.t.Helper()
	t := f.totals(run)
	if t.Due == nil || t.InRun == nil {
		f.t.Fatalf("run %d is not counted", run.ID)
	}
	return terms{*t.Due, t.Succeeded, t.Failed, t.Released, *t.InRun}
}

func (f fixture) mustTerms(what string, run runs.Run, want terms) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.terms(run)); diff != "" {
		f.t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// opened is run before it is counted.
func (f fixture) opened() runs.Run {
	f.t.Helper()
	run, err := f.OpenRun(f.t.Context(), runs.Run{
		Kind: runs.Nightly, ScheduledFor: noon, Cutoff: noon, Deadline: noon.Add(8 * time.Hour),
	}, runs.Lease{Owner: "test", Until: noon.Add(time.Minute)}, noon)
	f.must(err)
	return run
}

// failure is an outcome after which the receipt leaves its run, or stays.
func failure(c claim.Claim, run runs.Run, stays bool) claim.Outcome {
	return claim.Outcome{
		ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID, At: noon,
		Policy: &policy, Asked: true, Calls: 1, Failure: "timeout", Stays: stays, NextCheck: iap.Check{At: noon.Add(time.Hour), Rule: iap.RuleRetry},
	}
}

// returned is an outcome of a receipt that was not asked about.
func returned(c claim.Claim, run runs.Run) claim.Outcome {
	return claim.Outcome{ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID, At: noon, Policy: &policy, Stays: true}
}

// TestRunIsCountedWhileItGoesOn opens a run, has a part of it done and another with
// the workers, and counts it then.
func TestRunIsCountedWhileItGoesOn(t *testing.T) {
	f := open(t)
	f.receipts(app, 10)
	run := f.opened()
	if got := f.totals(run); got.Due != nil || got.InRun != nil {
		t.Errorf("due before it is counted: %v, still in the run: %v; want neither known", got.Due, got.InRun)
	}
	claims := f.claim(run, 6)
	f.save(success(claims[0], run, noon), failure(claims[1], run, false), failure(claims[2], run, true))
	if got := f.totals(run); got.Due != nil || got.Done != 2 {
		t.Errorf("before it is counted: due %v and %d done, want it unknown and 2", got.Due, got.Done)
	}
	for range 2 { // a second count, such as another owner's, changes nothing
		f.must(f.CountRun(t.Context(), run, noon))
		f.mustTerms("counted", run, terms{10, 1, 1, 0, 8})
	}
	claims = append(claims, f.claim(run, 10)...)
	f.mustTerms("all claimed", run, terms{10, 1, 1, 0, 8})
	f.save(success(claims[3], run, noon), success(claims[6], run, noon))
	f.mustTerms("more is done", run, terms{10, 3, 1, 0, 6})
	f.must(f.CountRun(t.Context(), run, noon))
	f.mustTerms("counted once more", run, terms{10, 3, 1, 0, 6})
}

// TestTwoRunsShareNoReceipt has a second run opened while another one is fed: it has
// what has become due since.
func TestTwoRunsShareNoReceipt(t *testing.T) {
	f := open(t)
	f.receipts(app, 5)
	first := f.run()
	f.claim(first, 2)
	late := noon.Add(30 * time.Second)
	_, err := f.AddReceipts(t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: "late", Kind: iap.KindAppReceipt, Data: []byte("late")}}, late)
	f.must(err)
	second := f.manualRun(late)
	f.mustTerms("the first", first, terms{5, 0, 0, 0, 5})
	f.mustTerms("the second", second, terms{1, 0, 0, 0, 1})
	request := claim.Request{
		RunID: second.ID, DueAfter: second.DueAfter, Cutoff: late, Now: late, Until: late.Add(time.Minute), Ahead: time.Minute, Limit: 10,
	}
	claims, err := f.Claim(t.Context(), request)
	f.must(err)
	if len(claims) != 1 {
		t.Errorf("the second claimed %d, want 1", len(claims))
	}
	f.save(success(claims[0], second, noon))
	if work, err := f.HasWork(t.Context(), second, late); err != nil || work {
		t.Errorf("the second has work left: %v, %v; what is left belongs to the first", work, err)
	}
	if got := len(f.claim(first, 10)); got != 3 {
		t.Errorf("the first claimed %d more, want its 3", got)
	}
}

// TestUnfedRunLosesReceipts has one whose owner is gone, and what waits in it taken
// by another run: it has left the first.
func TestUnfedRunLosesReceipts(t *testing.T) {
	f := open(t)
	f.receipts(app, 3)
	first := f.run()
	c := f.claim(first, 1)[0]
	f.save(returned(c, first))
	late := noon.Add(2 * time.Minute)
	second := f.manualRun(late)
	claims, err := f.Claim(t.Context(), claim.Request{
		RunID: second.ID, DueAfter: second.DueAfter, Cutoff: late, Now: late, Until: late.Add(time.Minute), Ahead: time.Minute, Limit: 10,
	})
	f.must(err)
	if len(claims) != 3 {
		t.Fatalf("claimed %d, want all 3", len(claims))
	}
	f.mustTerms("the first", first, terms{3, 0, 0, 1, 2}) // the other two it never had: see docs/runs.md
	f.mustTerms("the second", second, terms{3, 0, 0, 0, 3})
	_, err = f.EndRun(t.Context(), first.ID, runs.Finished, late)
	f.must(err)
	f.mustTerms("the first at its end", first, terms{3, 0, 0, 3, 0})
}

// TestCutOffRun is ended with receipts in every place, and what workers do after
// that is counted.
func TestCutOffRun(t *testing.T) {
	t.Parallel()
	for _, state := range []runs.State{runs.CutOff, runs.Cancelled} {
		t.Run(string(state), func(t *testing.T) {
			f := openRaw(t)
			f.receipts(app, 10)
			run := f.run()
			claims := f.claim(run, 7)
			f.save(success(claims[0], run, noon), failure(claims[1], run, true), returned(claims[2], run))
			f.mustTerms("before", run, terms{10, 1, 0, 0, 9})
			changed, err := f.EndRun(t.Context(), run.ID, state, noon)
			f.must(err)
			if !changed || f.totals(run).State != state {
				t.Errorf("changed %v, and it is %s", changed, f.totals(run).State)
			}
			f.mustTerms("with 4 with the workers", run, terms{10, 1, 0, 5, 4})
			f.save(success(claims[3], run, noon), failure(claims[4], run, true), returned(claims[5], run))
			f.mustTerms("with one with a worker", run, terms{10, 2, 1, 6, 1})
			_, err = f.ReleaseExpired(t.Context(), noon.Add(time.Hour))
			f.must(err)
			f.mustTerms("in the end", run, terms{10, 2, 1, 7, 0})
			if got := f.number(`SELECT count(*) FROM receipts WHERE run_id IS NOT NULL AND id = ANY($1)`,
				idArray([]int64{claims[4].ReceiptID, claims[5].ReceiptID, claims[6].ReceiptID})); got != 0 {
				t.Errorf("%d receipts are left in a run that has ended", got)
			}
			if changed, err = f.EndRun(t.Context(), run.ID, runs.Finished, noon); err != nil || changed {
				t.Errorf("a second end: changed %v, %v", changed, err)
			}
		})
	}
}

// TestRunThatEndsUncounted has been cancelled while it is counted.
func TestRunThatEndsUncounted(t *testing.T) {
	f := open(t)
	f.receipts(app, 5)
	run := f.opened()
	claims := f.claim(run, 3)
	f.save(success(claims[0], run, noon))
	_, err := f.CancelRun(t.Context(), run.ID, noon)
	f.must(err)
	f.mustTerms("cancelled", run, terms{3, 1, 0, 0, 2})
	if err := f.CountRun(t.Context(), run, noon); !errors.Is(err, runs.ErrLost) {
		t.Errorf("counted by somebody who has not heard of it: got %v, want %v", err, runs.ErrLost)
	}
	f.mustTerms("counted after its end", run, terms{3, 1, 0, 0, 2})
}

// TestClaimsNeedTheirRun is the fence of claims.
func TestClaimsNeedTheirRun(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run, backfill := f.run(), f.backfill(runs.Filter{}, 1)
	try := func(id int64, owner string) (errs [2]error) {
		r := claim.Request{RunID: id, Owner: owner, Cutoff: noon, Now: noon, Until: noon.Add(time.Minute), Ahead: time.Minute, Share: 1, Limit: 1}
		_, errs[0] = f.Claim(t.Context(), r)
		_, errs[1] = f.ClaimItems(t.Context(), r)
		return errs
	}
	for i, err := range try(run.ID, "another") {
		if !errors.Is(err, runs.ErrLost) {
			t.Errorf("claim %d of another owner: got %v, want %v", i, err, runs.ErrLost)
		}
	}
	for _, id := range []int64{run.ID, backfill.ID} {
		_, err := f.CancelRun(t.Context(), id, noon)
		f.must(err)
	}
	for i, err := range try(run.ID, "test") {
		if !errors.Is(err, runs.ErrLost) {
			t.Errorf("claim %d of a run that was cancelled: got %v, want %v", i, err, runs.ErrLost)
		}
	}
}

// TestSlotsAreForNightlyRuns has two people start the same thing at the same moment.
func TestSlotsAreForNightlyRuns(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	first, second := f.manualRun(noon), f.manualRun(noon)
	if first.ID == second.ID {
		t.Error("two manual runs are one")
	}
	f.backfill(runs.Filter{}, 1)
	f.backfill(runs.Filter{}, 1)
	f.opened()
	_, err := f.OpenRun(t.Context(), first, runs.Lease{Owner: "test", Until: noon}, noon)
	f.must(err)
}

func TestOpenAlone(t *testing.T) {
	f := open(t)
	manual := runs.Run{Kind: runs.Manual, ScheduledFor: noon, Cutoff: noon, Deadline: noon.Add(time.Hour), StartedBy: "ann@desk, pid 7"}
	lease := runs.Lease{Owner: "test", Until: noon.Add(time.Minute)}
	if _, err := f.FedRun(t.Context(), noon); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("a run that is fed: got %v, want %v", err, database.ErrNotFound)
	}
	run, err := f.OpenAlone(t.Context(), manual, lease, noon)
	f.must(err)
	if _, err := f.OpenAlone(t.Context(), manual, lease, noon); !errors.Is(err, database.ErrConflict) {
		t.Errorf("a second one: got %v, want %v", err, database.ErrConflict)
	}
	fed, err := f.FedRun(t.Context(), noon)
	f.must(err)
	if fed.ID != run.ID || fed.StartedBy != manual.StartedBy {
		t.Errorf("the run that is fed: %+v, want %d by %s", fed, run.ID, manual.StartedBy)
	}
	_, err = f.TakeOverRun(t.Context(), lease, noon.Add(time.Hour), runs.Backfill)
	if !errors.Is(err, database.ErrNotFound) {
		t.Errorf("take over a backfill: got %v, want %v", err, database.ErrNotFound)
	}
	taken, err := f.TakeOverRun(t.Context(), lease, noon.Add(time.Hour), runs.Nightly, runs.Manual)
	f.must(err)
	if taken.ID != run.ID {
		t.Errorf("took over run %d, want %d", taken.ID, run.ID)
	}
}

// rawFixture is a fixture that looks past the repository too.
type rawFixture struct {
	fixture
	raw *sql.DB
}

func openRaw(t *testing.T) rawFixture {
	t.Helper()
	t.Parallel()
	db, raw := openBoth(t, repositorytest.URL(t))
	f := rawFixture{fixture{db, t}, raw}
	f.addApp(app, 1000)
	return f
}

// number reads one number past the repository.
func (f rawFixture) number(query string, args ...any) (n int64) {
	f.t.Helper()
	f.must(f.raw.QueryRowContext(f.t.Context(), query, args...).Scan(&n))
	return n
}

// TestEquationHoldsThroughout goes through a night at random: two runs and a
// backfill, claims, all kinds of outcomes, leases that run out, ends, and a customer
// who is forgotten. After each step the terms of every run add up, and are those of
// the rows that they count.
func TestEquationHoldsThroughout(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := openRaw(t)
			f.addApp("com.example.other", 1000)
			f.receipts(app, 20)
			f.receipts("com.example.other", 10)
			n := &randomNight{rawFixture: f, random: rand.New(rand.NewPCG(seed, 12)), now: noon, claims: map[claim.Claim]runs.Run{}}
			for step := range 150 {
				did := n.step()
				if wrong := n.wrong(); wrong != "" {
					t.Fatalf("step %d (%s): %s", step, did, wrong)
				}
			}
			n.endAll()
			if wrong := n.wrong(); wrong != "" {
				t.Fatalf("in the end: %s", wrong)
			}
			if left := f.number(`SELECT coalesce(sum(in_run), 0) FROM run_apps`); left != 0 {
				t.Errorf("%d receipts are still in runs that have ended", left)
			}
		})
	}
}

type randomNight struct {
	rawFixture
	random *rand.Rand
	now    time.Time
	runs   []runs.Run
	claims map[claim.Claim]runs.Run
	gone   int
}

func (n *randomNight) lease() runs.Lease {
	return runs.Lease{Owner: "test", Until: n.now.Add(time.Minute)}
}

// step does something, and says what.
func (n *randomNight) step() string {
	n.t.Helper()
	n.now = n.now.Add(time.Duration(n.random.IntN(20)) * time.Second)
	ctx := n.t.Context()
	if len(n.runs) == 0 || n.random.IntN(12) == 0 {
		return n.open()
	}
	run := n.runs[n.random.IntN(len(n.runs))]
	switch n.random.IntN(12) {
	case 0, 1, 2:
		request := claim.Request{
			RunID: run.ID, DueAfter: run.DueAfter, Cutoff: run.Cutoff, Now: n.now, Until: n.now.Add(time.Minute),
			Ahead: time.Minute, Share: 1, Limit: 1 + n.random.IntN(8),
		}
		claim := n.Claim
		if run.Kind == runs.Backfill {
			claim = n.ClaimItems
		}
		claims, err := claim(ctx, request)
		if !errors.Is(err, runs.ErrLost) {
			n.must(err)
		}
		for _, c := range claims {
			n.claims[c] = run
		}
		return fmt.Sprintf("claim %d for %s %d", len(claims), run.Kind, run.ID)
	case 3, 4, 5, 6:
		return n.saveSome()
	case 7:
		_, err := n.KeepRun(ctx, run.ID, n.lease())
		n.must(err)
		return "keep"
	case 8:
		_, err := n.ReleaseExpired(ctx, n.now)
		n.must(err)
		return "release"
	case 9:
		if run.Kind == runs.Backfill {
			return "nothing"
		}
		if err := n.CountRun(ctx, run, n.now); !errors.Is(err, runs.ErrLost) {
			n.must(err)
		}
		return "count"
	case 10:
		states := []runs.State{runs.CutOff, runs.Cancelled, runs.Finished}
		if run.Kind == runs.Backfill {
			states = append(states, runs.Interrupted)
		}
		state := states[n.random.IntN(len(states))]
		_, err := n.EndRun(ctx, run.ID, state, n.now)
		n.must(err)
		return "end as " + string(state)
	}
	if n.random.IntN(4) == 0 {
		n.gone++
		_, err := n.Forget(ctx, fmt.Sprintf("customer-%d", n.gone), "", policies, n.now)
		n.must(err)
		return "forget"
	}
	_, err := n.ResumeRun(ctx, run.ID, n.lease(), n.now.Add(day), n.now)
	if !errors.Is(err, database.ErrNotFound) {
		n.must(err)
	}
	return "resume"
}

func (n *randomNight) open() string {
	n.t.Helper()
	run := runs.Run{Kind: runs.Manual, ScheduledFor: n.now, Cutoff: n.now, Deadline: n.now.Add(day), Share: 1}
	var err error
	if n.random.IntN(3) == 0 {
		run.Kind = runs.Backfill
		if run, err = n.OpenBackfill(n.t.Context(), run, runs.Filter{}, n.lease(), n.now); err == nil {
			err = n.ChooseItems(n.t.Context(), run.ID, n.now)
		}
	} else {
		run, err = n.OpenRun(n.t.Context(), run, n.lease(), n.now)
	}
	n.must(err)
	n.runs = append(n.runs, run)
	return fmt.Sprintf("open %s %d", run.Kind, run.ID)
}

func (n *randomNight) saveSome() string {
	n.t.Helper()
	var outcomes []claim.Outcome
	for c, run := range n.claims {
		if len(outcomes) == 5 {
			break
		}
		delete(n.claims, c)
		o := success(c, run, n.now)
		switch n.random.IntN(5) {
		case 0:
			o = failure(c, run, true)
		case 1:
			o = failure(c, run, false)
		case 2:
			o = returned(c, run)
		}
		o.At = n.now
		outcomes = append(outcomes, o)
	}
	n.save(outcomes...)
	return fmt.Sprintf("save %d", len(outcomes))
}

// endAll ends every run, and every claim.
func (n *randomNight) endAll() {
	n.t.Helper()
	for _, run := range n.runs {
		_, err := n.CancelRun(n.t.Context(), run.ID, n.now)
		n.must(err)
	}
	_, err := n.ReleaseExpired(n.t.Context(), n.now.Add(day))
	n.must(err)
}

// wrong compares the terms of all runs with the rows of receipts. Of a nightly or
// manual run that goes on, those that it has not claimed yet are not marked.
func (n *randomNight) wrong() string {
	n.t.Helper()
	const query = `
		SELECT format('run %s (%s, %s) of %s: due %s, claimed %s, succeeded %s, failed %s, released %s, in the run %s; receipts in it %s, items %s',
			run_id, kind, state, bundle_id, due, claimed, succeeded, failed, released, in_run, held, items)
		FROM (
			SELECT a.*, r.kind, r.state, r.counted_at,
			       (SELECT count(*) FROM receipts c WHERE c.run_id = r.id AND c.bundle_id = a.bundle_id
			          AND (c.claimed_until IS NOT NULL OR r.state IN ('running', 'interrupted'))) AS held,
			       (SELECT count(*) FROM run_items i WHERE i.run_id = r.id AND i.bundle_id = a.bundle_id) AS items
			FROM run_apps a JOIN runs r ON r.id = a.run_id
		) t
		WHERE (counted_at IS NOT NULL) <> (due IS NOT NULL)
		   OR due <> succeeded + failed + released + in_run
		   OR least(succeeded, failed, released, in_run) < 0
		   OR in_run <> held AND state NOT IN ('running', 'interrupted')
		   OR in_run <> held + items AND kind = 'backfill' AND state IN ('running', 'interrupted')
		   OR in_run < held
		   OR kind <> 'backfill' AND claimed <> succeeded + failed + held + released AND state = 'running'
		LIMIT 1`
	var line string
	err := n.raw.QueryRowContext(n.t.Context(), query).Scan(&line)
	if errors.Is(err, sql.ErrNoRows) {
		return ""
	}
	n.must(err)
	return line
}
