package repository_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// familyOfReceipts is receipts that show subscriptions and purchases of one customer.
type familyOfReceipts struct {
	observed
	runs int
}

// openReceipts adds a receipt of each kind, numbered from 1.
func openReceipts(t *testing.T, kinds ...iap.ReceiptKind) *familyOfReceipts {
	f := openObserved(t, 8)
	f.customer(kinds...)
	return &familyOfReceipts{observed: f}
}

// customer adds receipts of a customer.
func (f fixture) customer(kinds ...iap.ReceiptKind) {
	f.t.Helper()
	for i, kind := range kinds {
		_, err := f.AddReceipts(f.t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: "c", Kind: kind, Data: []byte{byte(i)}}}, noon)
		f.must(err)
	}
}

// claimed claims receipts at an offset from noon, by what they are due for or, where
// asked is set, because somebody asked.
func (f *familyOfReceipts) claimed(at time.Duration, asked bool, ids ...int64) []claim.Claim {
	f.t.Helper()
	if asked {
		_, err := f.Recheck(f.t.Context(), ids, noon.Add(at))
		f.must(err)
	}
	f.runs++
	run, err := f.OpenRun(f.t.Context(), runs.Run{
		Kind: runs.Manual, ScheduledFor: noon.Add(time.Duration(f.runs) * time.Second), Cutoff: noon.Add(at), Deadline: noon.Add(at + time.Hour),
	}, runs.Lease{Owner: "test", Until: noon.Add(at + time.Minute)}, noon.Add(at))
	f.must(err)
	claims, err := f.Claim(f.t.Context(), claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: noon.Add(at), Until: noon.Add(at + time.Minute), Ahead: time.Minute, Limit: 100,
	})
	f.must(err)
	var wanted []claim.Claim
	for _, id := range ids {
		for _, c := range claims {
			if c.ReceiptID == id {
				wanted = append(wanted, c)
			}
		}
	}
	if len(wanted) != len(ids) {
		f.t.Fatalf("claimed %v, want receipts %v", claims, ids)
	}
	for _, c := range claims {
		if _, err := f.raw.ExecContext(f.t.Context(), `UPDATE receipts SET claimed_until = NULL, run_id = NULL WHERE id = $1 AND NOT id = ANY($2::bigint[])`, c.ReceiptID, idArray(ids)); err != nil {
			f.t.Fatal(err)
		}
	}
	return wanted
}

func idArray(ids []int64) string {
	text := "{"
	for i, id := range ids {
		if i > 0 {
			text += ","
		}
		text += string(rune('0' + id))
	}
	return text + "}"
}

// outcome is what Apple says of a claim at an offset from noon.
func outcome(c claim.Claim, at time.Duration, records ...any) claim.Outcome {
	facts := &iap.Facts{AsOf: noon.Add(at), Environment: iap.Production, BundleID: app}
	for _, r := range records {
		switch r := r.(type) {
		case iap.Transaction:
			facts.AddTransaction(r, iap.ListLatest)
		case iap.RenewalInfo:
			facts.AddRenewalInfo(r)
		}
	}
	o := success(c, runs.Run{}, noon)
	told := iap.Derive(facts)
	o.At, o.Conclusion = noon.Add(at), &told
	return o
}

// check stores a reply for each receipt, in one save.
func (f *familyOfReceipts) check(at time.Duration, replies map[int64][]any, order ...int64) {
	f.t.Helper()
	var outcomes []claim.Outcome
	for i, c := range f.claimed(at, true, order...) {
		outcomes = append(outcomes, outcome(c, at+time.Duration(i)*time.Millisecond, replies[c.ReceiptID]...))
	}
	f.save(outcomes...)
}

// state is what is stored of a receipt's next check.
type state struct {
	By   int64
	Rule iap.Rule
	Next time.Duration // from noon
}

func (f *familyOfReceipts) state(id int64) state {
	f.t.Helper()
	r, err := f.StoredReceipt(f.t.Context(), id)
	f.must(err)
	s := state{Rule: r.NextCheckRule}
	if r.CoveredBy != nil {
		s.By = *r.CoveredBy
	}
	if r.NextCheckAt != nil {
		s.Next = r.NextCheckAt.Sub(noon)
	}
	return s
}

func (f *familyOfReceipts) mustRest(id, by int64) {
	f.t.Helper()
	covering, covered := f.state(by), f.state(id)
	if want := (state{by, iap.RuleCovered, covering.Next + iap.CoveredAfter}); covered != want || covering.By != 0 {
		f.t.Errorf("receipt %d: %+v, want %+v; the other one: %+v", id, covered, want, covering)
	}
}

func (f *familyOfReceipts) mustNotRest(ids ...int64) {
	f.t.Helper()
	for _, id := range ids {
		if s := f.state(id); s.By != 0 || s.Rule == iap.RuleCovered {
			f.t.Errorf("receipt %d: %+v, want one that is not covered", id, s)
		}
	}
}

var (
	monthlyA = []any{monthly("5", "1", 20*day), renewing("1")}
	monthlyB = []any{monthly("6", "2", 10*day), renewing("2")}
	lifetime = iap.Transaction{TransactionID: "8", ProductID: "lifetime", PurchaseDate: noon.Add(-day)}
	extra    = iap.Transaction{TransactionID: "9", ProductID: "extra", PurchaseDate: noon.Add(-day)}
)

func with(records []any, more ...any) []any { return append(append([]any{}, records...), more...) }

func TestWhoCoversWhom(t *testing.T) {
	appReceipt, transaction := iap.KindAppReceipt, iap.KindTransactionReceipt
	tests := []struct {
		name    string
		kinds   []iap.ReceiptKind
		replies map[int64][]any
		order   []int64
		rests   map[int64]int64
	}{
		{"the same: the first covers", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: monthlyA, 2: monthlyA}, []int64{1, 2}, map[int64]int64{2: 1}},
		{"three of the same", []iap.ReceiptKind{appReceipt, appReceipt, appReceipt}, map[int64][]any{1: monthlyA, 2: monthlyA, 3: monthlyA}, []int64{3, 1, 2}, map[int64]int64{2: 1, 3: 1}},
		{"one that shows more covers", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: monthlyA, 2: with(monthlyA, monthlyB...)}, []int64{1, 2}, map[int64]int64{1: 2}},
		{"each shows something of its own", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: with(monthlyA, lifetime), 2: with(monthlyA, extra)}, []int64{1, 2}, nil},
		{"different subscriptions", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: monthlyA, 2: monthlyB}, []int64{1, 2}, nil},
		{"an app receipt covers a transaction receipt", []iap.ReceiptKind{transaction, appReceipt}, map[int64][]any{1: monthlyA, 2: monthlyA}, []int64{1, 2}, map[int64]int64{1: 2}},
		{"a transaction receipt never covers an app receipt", []iap.ReceiptKind{transaction, appReceipt}, map[int64][]any{1: with(monthlyA, lifetime), 2: monthlyA}, []int64{1, 2}, nil},
		{"transaction receipts cover each other", []iap.ReceiptKind{transaction, transaction}, map[int64][]any{1: monthlyA, 2: monthlyA}, []int64{2, 1}, map[int64]int64{2: 1}},
		{"without purchases", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: monthlyA, 2: nil}, []int64{1, 2}, nil},
		{"purchases alone", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: {lifetime, extra}, 2: {lifetime}}, []int64{1, 2}, map[int64]int64{2: 1}},
		{"other purchases alone", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: {lifetime}, 2: {extra}}, []int64{1, 2}, nil},
		{"all the same purchases too", []iap.ReceiptKind{appReceipt, appReceipt}, map[int64][]any{1: with(monthlyA, lifetime), 2: with(monthlyA, lifetime)}, []int64{1, 2}, map[int64]int64{2: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := openReceipts(t, test.kinds...)
			f.check(0, test.replies, test.order...)
			for id := range int64(len(test.kinds)) {
				if by := test.rests[id+1]; by != 0 {
					f.mustRest(id+1, by)
				} else {
					f.mustNotRest(id + 1)
				}
			}
		})
	}
}

// TestCoveredAtItsNextCheck saves each receipt by itself, the covering one last.
func TestCoveredAtItsNextCheck(t *testing.T) {
	f := openReceipts(t, iap.KindTransactionReceipt, iap.KindAppReceipt)
	both := map[int64][]any{1: monthlyA, 2: with(monthlyA, monthlyB...)}
	f.check(0, both, 1)
	f.check(time.Minute, both, 2)
	f.mustNotRest(1, 2)
	f.check(time.Hour, both, 1)
	f.mustRest(1, 2)
}

// TestCoveredWithoutANextCheck has a backfill check receipts that have no next check.
func TestCoveredWithoutANextCheck(t *testing.T) {
	for name, records := range map[string][]any{"a subscription": monthlyA, "a purchase": {lifetime}} {
		t.Run(name, func(t *testing.T) {
			f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
			f.check(0, map[int64][]any{1: records, 2: records}, 1, 2)
			var outcomes []claim.Outcome
			for _, c := range f.claimed(time.Hour, true, 1, 2) {
				outcomes = append(outcomes, outcome(c, time.Hour, records...))
			}
			f.must(exec(t, f, `UPDATE receipts SET next_check_at = NULL, next_check_rule = 'settled', covered_by = NULL`))
			f.save(outcomes...)
			f.mustRest(2, 1)
		})
	}
}

// TestCoveredReceiptRests follows two receipts of one subscription over its checks.
func TestCoveredReceiptRests(t *testing.T) {
	f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
	both := map[int64][]any{1: monthlyA, 2: monthlyA}
	f.check(0, both, 1, 2)
	due := f.state(2).Next
	load := func(at time.Duration, asked bool) (claim.Claim, claim.Receipt) {
		t.Helper()
		held := f.claimed(at, asked, 2)[0]
		loaded, err := f.ClaimedReceipts(t.Context(), []claim.Key{{ReceiptID: 2, Generation: held.Generation}})
		f.must(err)
		return held, loaded[claim.Key{ReceiptID: 2, Generation: held.Generation}]
	}
	held, r := load(due, false)
	if r.Rests {
		t.Fatal("the other one was not checked, and the receipt would rest")
	}
	// It is checked, and rests again, from now on; then the other one is checked.
	covering := f.state(1).Next
	f.save(outcome(held, due, monthly("5", "1", 50*day), renewing("1")))
	if want := (state{1, iap.RuleCovered, due + iap.CoveredAfter}); f.state(2) != want {
		t.Fatalf("%+v, want %+v: the next check of the other one, after %s, is overdue", f.state(2), want, covering)
	}
	f.check(due+time.Hour, map[int64][]any{1: {monthly("5", "1", 50*day), renewing("1")}}, 1)
	due = f.state(2).Next
	if _, r = load(due, true); r.Rests {
		t.Error("a person asked for a check, and the receipt would rest")
	}
	f.must(exec(t, f, `UPDATE receipts SET claimed_until = NULL, run_id = NULL, next_check_rule = 'covered' WHERE id = 2`))
	if held, r = load(due, false); !r.Rests {
		t.Fatal("everything was checked since, and the receipt does not rest")
	}
	rests := claim.Outcome{ReceiptID: 2, Generation: held.Generation, BundleID: app, At: noon.Add(due), Rests: true, Policy: &policy}
	if !f.save(rests)[0] {
		t.Fatal("the claim was lost")
	}
	f.mustRest(2, 1)
}

func exec(t *testing.T, f *familyOfReceipts, query string, args ...any) error {
	_, err := f.raw.ExecContext(t.Context(), query, args...)
	return err
}

// TestCoveringEnds has the covering receipt fail, have no next check any more, be
// covered itself, and be forgotten.
func TestCoveringEnds(t *testing.T) {
	for name, end := range map[string]func(*familyOfReceipts){
		"its check fails": func(f *familyOfReceipts) {
			c := f.claimed(time.Hour, true, 1)[0]
			f.save(claim.Outcome{
				ReceiptID: 1, Generation: c.Generation, BundleID: app, At: noon.Add(time.Hour), Asked: true, Calls: 1, Failure: "timeout",
				NextCheck: iap.Check{At: noon.Add(2 * time.Hour), Rule: iap.RuleRetry}, Policy: &policy,
			})
		},
		"it is quarantined": func(f *familyOfReceipts) {
			c := f.claimed(time.Hour, true, 1)[0]
			f.save(claim.Outcome{
				ReceiptID: 1, Generation: c.Generation, BundleID: app, At: noon.Add(time.Hour), Asked: true, Calls: 1, Failure: "account_gone",
				State: iap.ReceiptAccountGone, NextCheck: iap.Check{Rule: iap.RuleSetAside}, Policy: &policy,
			})
		},
		"its customer is forgotten": func(f *familyOfReceipts) {
			f.must(exec(f.t, f, `UPDATE receipts SET customer_ref = 'other' WHERE id = 1`))
			_, err := f.Forget(f.t.Context(), "other", "", policies, noon.Add(time.Hour))
			f.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
			f.check(0, map[int64][]any{1: monthlyA, 2: monthlyA}, 1, 2)
			f.mustRest(2, 1)
			end(f)
			f.mustNotRest(2)
			if s := f.state(2); s.Rule != iap.RuleRenewal || s.Next < 0 || s.Next > 21*day {
				t.Errorf("the receipt that was covered: %+v, want the next check of its own subscription", s)
			}
		})
	}
	t.Run("it has no next check any more", func(t *testing.T) {
		f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
		f.check(0, map[int64][]any{1: monthlyA, 2: monthlyA}, 1, 2)
		f.check(900*day, map[int64][]any{1: {monthly("5", "1", 20*day), renewing("1", func(r *iap.RenewalInfo) { r.ExpirationIntent = iap.IntentCustomerCancelled })}}, 1)
		f.mustNotRest(2)
	})
}

// TestDueWhileCoveringEnds has somebody ask for the check of a covered receipt, and
// the covering one fail before it: it is checked all the same, in its run.
func TestDueWhileCoveringEnds(t *testing.T) {
	for name, prepare := range map[string]func(*familyOfReceipts){
		"due": func(f *familyOfReceipts) {
			_, err := f.Recheck(t.Context(), []int64{2}, noon.Add(time.Hour))
			f.must(err)
		},
		"waits in a run": func(f *familyOfReceipts) {
			f.must(exec(t, f, `UPDATE receipts SET run_id = 1, next_check_at = $1, next_check_rule = 'requested' WHERE id = 2`, noon.Add(time.Hour+time.Minute)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
			f.check(0, map[int64][]any{1: monthlyA, 2: monthlyA}, 1, 2)
			f.mustRest(2, 1)
			c := f.claimed(time.Hour, true, 1)[0]
			prepare(f)
			want := f.state(2)
			want.By = 0
			f.save(claim.Outcome{
				ReceiptID: 1, Generation: c.Generation, BundleID: app, At: noon.Add(time.Hour), Asked: true, Calls: 1, Failure: "timeout",
				NextCheck: iap.Check{At: noon.Add(2 * time.Hour), Rule: iap.RuleRetry}, Policy: &policy,
			})
			if got := f.state(2); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestRestsWithWhoFails has one save bring that the covering receipt fails, or is
// covered itself, and that the one that it covers would rest again.
func TestRestsWithWhoFails(t *testing.T) {
	for name, outcomeOf := range map[string]func(c claim.Claim) claim.Outcome{
		"fails": func(c claim.Claim) claim.Outcome {
			return claim.Outcome{
				ReceiptID: c.ReceiptID, Generation: c.Generation, BundleID: app, At: noon.Add(time.Hour), Asked: true, Calls: 1, Failure: "timeout",
				NextCheck: iap.Check{At: noon.Add(2 * time.Hour), Rule: iap.RuleRetry}, Policy: &policy,
			}
		},
		"is covered": func(c claim.Claim) claim.Outcome { return outcome(c, time.Hour, monthlyA...) },
	} {
		t.Run(name, func(t *testing.T) {
			f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt, iap.KindAppReceipt)
			f.check(0, map[int64][]any{1: monthlyA, 2: monthlyA}, 1, 2)
			f.mustRest(2, 1)
			f.check(time.Minute, map[int64][]any{3: with(monthlyA, monthlyB...)}, 3) // shows more
			claims := f.claimed(time.Hour, true, 1, 2)
			resting := claim.Outcome{ReceiptID: 2, Generation: claims[1].Generation, BundleID: app, At: noon.Add(time.Hour), Rests: true, Policy: &policy}
			f.save(outcomeOf(claims[0]), resting)
			f.mustNotRest(2)
			if s := f.state(2); s.Next == 0 {
				t.Errorf("the receipt that was covered: %+v, want a next check", s)
			}
		})
	}
}

// TestOverdueReceiptCovers has a covering receipt that is overdue for days, as after
// a pause: the covered one must not be due at once, again and again.
func TestOverdueReceiptCovers(t *testing.T) {
	f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
	both := map[int64][]any{1: monthlyA, 2: monthlyA}
	f.check(0, both, 1, 2)
	later := f.state(1).Next + 10*day
	f.check(later, both, 2)
	if s := f.state(2); s.By != 1 || s.Next != later+iap.CoveredAfter {
		t.Errorf("checked after %s: %+v, want it due two days after that", later, s)
	}
}

// TestNoTwoCoverEachOther saves two receipts of one subscription side by side, again
// and again.
func TestNoTwoCoverEachOther(t *testing.T) {
	f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt, iap.KindAppReceipt)
	for round := range 12 {
		at := time.Duration(round) * time.Minute
		claims := f.claimed(at, true, 1, 2, 3)
		errs := make(chan error, len(claims))
		for i, c := range claims {
			go func() {
				_, err := f.SaveOutcomes(context.WithoutCancel(t.Context()), []claim.Outcome{outcome(c, at+time.Duration(i)*time.Millisecond, monthlyA...)})
				errs <- err
			}()
		}
		for range claims {
			f.must(<-errs)
		}
		own := 0
		for id := range int64(3) {
			s := f.state(id + 1)
			if s.Next == 0 {
				t.Fatalf("round %d: receipt %d has no next check", round, id+1)
			}
			if s.By == 0 {
				own++
			} else if by := f.state(s.By); by.By != 0 {
				t.Fatalf("round %d: receipt %d rests by %d, which rests by %d", round, id+1, s.By, by.By)
			}
		}
		if own == 0 {
			t.Fatalf("round %d: nobody is checked", round)
		}
	}
}

// TestCoveredReceiptsAreDoneWithoutACall counts what rests as done.
func TestCoveredReceiptsAreDoneWithoutACall(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	held := f.claim(run, 1)[0]
	f.save(claim.Outcome{ReceiptID: held.ReceiptID, Generation: held.Generation, RunID: run.ID, BundleID: app, At: noon, Rests: true, Policy: &policy})
	got := f.totals(run)
	if diff := cmp.Diff([]int64{1, 0, 0}, []int64{got.Done, got.Failed, got.Calls}); diff != "" {
		t.Errorf("done, failed, calls (-want +got)\n%s", diff)
	}
}

// Two receipts of a customer that came in together, both checked for the first time in
// one batch, with replies of the same second (an HTTP Date, where a reply has no time).
func TestFirstOfEqualTimesInOneBatch(t *testing.T) {
	f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
	claims := f.claimed(0, true, 1, 2)
	f.save(outcome(claims[0], 0, monthly("6", "1", 20*day), renewing("1")), outcome(claims[1], 0, monthly("5", "1", -10*day)))
	var status, transaction string
	if err := f.raw.QueryRow(`SELECT status, transaction_id FROM subscriptions`).Scan(&status, &transaction); err != nil {
		t.Fatal(err)
	}
	t.Logf("1: %+v, 2: %+v", f.state(1), f.state(2))
	if transaction != "6" {
		t.Errorf("stored: transaction %s, %s; planned by an active one: %+v", transaction, status, f.state(1))
	}
	var after string
	if err := f.raw.QueryRow(`SELECT coalesce((SELECT string_agg(type || ' ' || (after->>'status'), ',') FROM subscription_events), '')`).Scan(&after); err != nil {
		t.Fatal(err)
	}
	t.Log("events:", after)
}

// A receipt of purchases only is covered; the one that covers it fails its check.
func TestUncoveredPurchases(t *testing.T) {
	f := openReceipts(t, iap.KindAppReceipt, iap.KindAppReceipt)
	both := map[int64][]any{1: {lifetime}, 2: {lifetime}}
	f.check(0, both, 2, 1)
	f.mustRest(2, 1)
	f.check(time.Hour, both, 1)
	for _, c := range f.claimed(2*time.Hour, true, 1) {
		o := outcome(c, 2*time.Hour)
		o.Conclusion, o.Failure, o.State, o.NextCheck = nil, "server_error", "", iap.Check{At: noon.Add(3 * time.Hour), Rule: iap.RuleRetry}
		f.save(o)
	}
	if s := f.state(2); s.Rule == iap.RuleNoPurchases {
		t.Errorf("%+v: of a receipt that shows a purchase", s)
	}
}
