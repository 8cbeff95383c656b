package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// noon is the present of every test here.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const app = "com.example.reader"

// fixture is a database with one app.
type fixture struct {
	*repository.DB
	t *testing.T
}

func open(t *testing.T) fixture {
	t.Helper()
	t.Parallel()
	f := fixture{repositorytest.Open(t), t}
	f.addApp(app, 1000)
	return f
}

func (f fixture) addApp(bundleID string, rate float64) {
	f.t.Helper()
	f.must(f.AddApp(f.t.Context(), apps.App{BundleID: bundleID, RatePerSecond: rate, Burst: 1, CreatedAt: noon}))
}

func (f fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// receipts adds n receipts of an app, due now.
func (f fixture) receipts(bundleID string, n int) {
	f.t.Helper()
	batch := make([]iap.Receipt, n)
	for i := range batch {
		batch[i] = iap.Receipt{
			BundleID: bundleID, CustomerRef: fmt.Sprintf("customer-%d", i), Kind: iap.KindAppReceipt,
			Data: fmt.Appendf(nil, "receipt %s %d", bundleID, i),
		}
	}
	_, err := f.AddReceipts(f.t.Context(), batch, noon)
	f.must(err)
}

// run opens a run at noon, and counts it.
func (f fixture) run() runs.Run {
	f.t.Helper()
	run := f.opened()
	f.must(f.CountRun(f.t.Context(), run, noon))
	return run
}

// end ends a run at noon.
func (f fixture) end(run runs.Run, state runs.State) {
	f.t.Helper()
	_, err := f.EndRun(f.t.Context(), run.ID, state, noon)
	f.must(err)
}

func (f fixture) claim(run runs.Run, limit int) []claim.Claim {
	f.t.Helper()
	held, err := f.ClaimedCount(f.t.Context())
	f.must(err)
	claims, err := f.Claim(f.t.Context(), claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: noon, Until: noon.Add(time.Minute), Ahead: time.Minute, Limit: limit, Held: held,
	})
	f.must(err)
	return claims
}

func (f fixture) save(outcomes ...claim.Outcome) []bool {
	f.t.Helper()
	saved, err := f.SaveOutcomes(f.t.Context(), outcomes)
	f.must(err)
	held := make([]bool, len(saved))
	for i, s := range saved {
		held[i] = s.Held
	}
	return held
}

func (f fixture) totals(run runs.Run) runs.Totals {
	f.t.Helper()
	totals, err := f.RunTotals(f.t.Context(), run.ID)
	f.must(err)
	return totals
}

// success is an outcome with one active subscription as of a time.
func success(c claim.Claim, run runs.Run, asOf time.Time) claim.Outcome {
	return claim.Outcome{
		ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID, At: noon,
		Asked: true, Calls: 1, Code: new(int), State: iap.ReceiptValid, Environment: iap.Production,
		Policy: &policy, Backoff: time.Hour,
		Conclusion: &iap.Conclusion{AsOf: asOf, Subscriptions: []iap.Subscription{{
			SubscriptionKey: iap.SubscriptionKey{BundleID: c.BundleID, Environment: iap.Production, OriginalTransactionID: "1000"},
			Status:          iap.StatusActive, ProductID: "monthly", TransactionID: "1000",
			ExpiresDate: noon.Add(24 * time.Hour), AsOf: asOf, ToldAt: toldAt(asOf), Tells: everything,
		}}},
	}
}

func toldAt(asOf time.Time) iap.ToldAt {
	return iap.ToldAt{PeriodAsOf: asOf, RenewalAsOf: asOf, GraceAsOf: asOf, OfferAsOf: asOf, RevocationsAsOf: asOf}
}

// policy is that of every test here, and everything all groups of facts.
var policy = iap.DefaultPolicy()

func policies(string) iap.Policy { return policy }

const everything = iap.GroupPeriod | iap.GroupRenewal | iap.GroupGrace | iap.GroupOffer | iap.GroupRevocations

func TestMigrateIsRepeatable(t *testing.T) {
	f := open(t)
	steps, err := f.Migrate(t.Context())
	f.must(err)
	if len(steps) != 0 {
		t.Errorf("second migration took steps: %v", steps)
	}
	current, known, err := f.SchemaVersion(t.Context())
	f.must(err)
	if current != known || known == 0 {
		t.Errorf("schema version %d, program knows %d", current, known)
	}
}

func TestAddReceiptsOnce(t *testing.T) {
	f := open(t)
	r := iap.Receipt{BundleID: app, CustomerRef: "a", Kind: iap.KindAppReceipt, Data: []byte{0, 1, 0xff}}
	other := r
	other.CustomerRef = "b"
	added, err := f.AddReceipts(t.Context(), []iap.Receipt{r, r, other}, noon)
	f.must(err)
	if diff := cmp.Diff([]bool{true, false, true}, added); diff != "" {
		t.Errorf("first time (-want +got)\n%s", diff)
	}
	added, err = f.AddReceipts(t.Context(), []iap.Receipt{r}, noon)
	f.must(err)
	if added[0] {
		t.Error("the same receipt was added a second time")
	}
	_, err = f.AddReceipts(t.Context(), []iap.Receipt{{BundleID: "com.unknown", CustomerRef: "a", Kind: iap.KindAppReceipt, Data: []byte{1}}}, noon)
	if !errors.Is(err, database.ErrNotFound) {
		t.Errorf("unknown app: got %v, want ErrNotFound", err)
	}
}

func TestReceiptDataInSlices(t *testing.T) {
	f := open(t)
	want := make([]byte, 600<<10)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	_, err := f.AddReceipts(t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: "a", Kind: iap.KindAppReceipt, Data: want}}, noon)
	f.must(err)
	claim := f.claim(f.run(), 1)[0]
	data := f.ReceiptData(claim.ReceiptID, claim.ByteSize)
	for range 2 { // it can be read again, for the other environment
		r, err := data.Open(t.Context())
		f.must(err)
		got, err := io.ReadAll(r)
		f.must(err)
		f.must(r.Close())
		if !bytes.Equal(want, got) {
			t.Fatal("bytes differ from what was stored")
		}
	}
}

func TestClaimFairAndFenced(t *testing.T) {
	f := open(t)
	f.addApp("com.example.small", 1000)
	f.addApp("com.example.paused", 1000)
	f.receipts(app, 300)
	f.receipts("com.example.small", 10)
	f.receipts("com.example.paused", 10)
	_, err := f.PauseApp(t.Context(), "com.example.paused", "test", noon)
	f.must(err)
	run := f.run()
	if got := f.totals(run).Counted(); got != 320 {
		t.Errorf("due at the start: got %d, want 320", got)
	}

	perApp := map[string]int{}
	for _, c := range f.claim(run, 100) {
		perApp[c.BundleID]++
	}
	if diff := cmp.Diff(map[string]int{app: 50, "com.example.small": 10}, perApp); diff != "" {
		t.Errorf("a small app must get its share beside a large one, a paused one nothing (-want +got)\n%s", diff)
	}
	again := f.claim(run, 1000)
	if len(again) != 250 {
		t.Errorf("second claim: got %d, want the 250 that are left", len(again))
	}
	_, err = f.ClaimedReceipt(t.Context(), again[0].ReceiptID, again[0].Generation-1)
	if !errors.Is(err, claim.ErrLost) {
		t.Errorf("older generation: got %v, want ErrLostClaim", err)
	}
}

func TestClaimKeepsNoMoreThanTheRateAllows(t *testing.T) {
	f := open(t)
	f.addApp("com.example.slow", 0.5)
	f.receipts("com.example.slow", 100)
	run := f.run()
	if got := len(f.claim(run, 5000)); got != 31 { // 60 s at 0.5 per second, and a burst of 1
		t.Errorf("claimed %d, want 31", got)
	}
	if got := len(f.claim(run, 5000)); got != 0 {
		t.Errorf("claimed %d more while those are in hand, want none", got)
	}
}

func TestSaveOutcomeOnce(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	claim := f.claim(run, 1)[0]
	o := success(claim, run, noon)

	if diff := cmp.Diff([]bool{true, false}, f.save(o, o)); diff != "" {
		t.Errorf("twice in a batch (-want +got)\n%s", diff)
	}
	if f.save(o)[0] {
		t.Error("a second save of the same outcome was taken")
	}
	got := f.totals(run)
	if got.Done != 1 || got.Changed != 1 || got.Calls != 1 || got.Failed != 0 || got.Enqueued != 1 {
		t.Errorf("totals after three saves of one outcome: %+v", got)
	}
	events, err := f.RunEvents(t.Context(), run.ID)
	f.must(err)
	if diff := cmp.Diff([]repository.EventCount{{Type: iap.EventStarted, Count: 1}}, events); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
}

func TestStateMovesForwardOnly(t *testing.T) {
	f := open(t)
	f.receipts(app, 3)
	run := f.run()
	claims := f.claim(run, 3)
	newer := success(claims[0], run, noon)
	newer.Conclusion.Subscriptions[0].Status = iap.StatusExpired
	f.save(newer)
	older := success(claims[1], run, noon.Add(-time.Minute))
	same := success(claims[2], run, noon)
	f.save(older, same)

	statuses, err := f.SubscriptionsByStatus(t.Context())
	f.must(err)
	if diff := cmp.Diff(map[string]int64{string(iap.StatusExpired): 1}, statuses.Counts); diff != "" {
		t.Errorf("an older reply moved the subscription (-want +got)\n%s", diff)
	}
	if got := f.totals(run); got.Done != 3 || got.Changed != 1 {
		t.Errorf("totals: %+v, want 3 done and 1 changed", got)
	}
}

func TestTwoWhoSeeASubscriptionFirst(t *testing.T) {
	f := open(t)
	f.receipts(app, 40)
	run := f.run()
	claims := f.claim(run, 40)
	errs := make(chan error, len(claims))
	for i, c := range claims {
		go func() {
			_, err := f.SaveOutcomes(context.WithoutCancel(t.Context()),
				[]claim.Outcome{success(c, run, noon.Add(time.Duration(i)*time.Second))})
			errs <- err
		}()
	}
	for range claims {
		f.must(<-errs)
	}
	events, err := f.RunEvents(t.Context(), run.ID)
	f.must(err)
	if diff := cmp.Diff([]repository.EventCount{{Type: iap.EventStarted, Count: 1}}, events); diff != "" {
		t.Errorf("40 receipts of one subscription at once (-want +got)\n%s", diff)
	}
}

func TestFailuresAreCountedAlikeAndInARow(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	for _, step := range []struct {
		failure         string
		wantRow, wantOf int
	}{{"timeout", 1, 1}, {"timeout", 2, 2}, {"server_error", 3, 1}, {"", 0, 0}, {"timeout", 1, 1}} {
		held := f.claim(run, 1)[0]
		f.save(claim.Outcome{
			ReceiptID: held.ReceiptID, Generation: held.Generation, RunID: run.ID, BundleID: app, At: noon,
			Asked: true, Failure: step.failure, Stays: true, NextCheck: iap.Check{At: noon, Rule: iap.RuleRetry},
		})
		next := f.claim(run, 1)[0]
		r, err := f.ClaimedReceipt(t.Context(), next.ReceiptID, next.Generation)
		f.must(err)
		if r.ConsecutiveFailures != step.wantRow || r.FailuresAlike != step.wantOf || r.LastFailure != step.failure {
			t.Errorf("after %q: %d in a row, %d alike, last %q; want %d and %d", step.failure,
				r.ConsecutiveFailures, r.FailuresAlike, r.LastFailure, step.wantRow, step.wantOf)
		}
		f.save(claim.Outcome{ReceiptID: next.ReceiptID, Generation: next.Generation, RunID: run.ID, BundleID: app, At: noon, Stays: true})
	}
}

func TestExpiredClaimIsDueAgain(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	run := f.run()
	lost := f.claim(run, 1)[0]
	n, err := f.ReleaseExpired(t.Context(), noon.Add(59*time.Second))
	f.must(err)
	if n != 0 {
		t.Errorf("released %d before their lease ended", n)
	}
	n, err = f.ReleaseExpired(t.Context(), noon.Add(61*time.Second))
	f.must(err)
	if n != 1 {
		t.Errorf("released %d, want 1", n)
	}
	if f.save(success(lost, run, noon))[0] {
		t.Error("an outcome was taken under a claim that ran out")
	}
	if got := len(f.claim(run, 10)); got != 2 {
		t.Errorf("claimed %d, want both", got)
	}
}

// TestClaimByShares: an app waits as a whole without production, with what is
// known to be of the sandbox without that, and keeps less queued at a lower rate.
func TestClaimByShares(t *testing.T) {
	f := open(t)
	const other = "com.example.fitness"
	f.addApp(other, 1000)
	f.receipts(app, 3)
	f.receipts(other, 3)
	run := f.run()
	first := f.claim(run, 100)
	f.save(append(givenBack(first[1:], run), sandboxed(first[0], run))...)
	claim := func(shares map[string]float64) int {
		claims, err := f.Claim(t.Context(), claim.Request{
			RunID: run.ID, Cutoff: run.Cutoff, Now: noon, Until: noon.Add(time.Minute), Ahead: time.Minute, Limit: 100, Shares: shares,
		})
		f.must(err)
		_, err = f.ReleaseExpired(t.Context(), noon.Add(time.Hour))
		f.must(err)
		return len(claims)
	}
	for name, test := range map[string]struct {
		shares map[string]float64
		want   int
	}{
		"all as configured":  {nil, 6},
		"production held":    {map[string]float64{app + "/verify_receipt:Production": 0}, 3},
		"sandbox held":       {map[string]float64{app + "/verify_receipt:Sandbox": 0, other + "/verify_receipt:Sandbox": 0}, 5},
		"another app held":   {map[string]float64{"com.example.unknown/verify_receipt:Production": 0}, 6},
		"production slowed":  {map[string]float64{app + "/verify_receipt:Production": 1.0 / 60000}, 4}, // of 1 a minute and a burst of 1, its part of the limit
		"the sandbox slowed": {map[string]float64{app + "/verify_receipt:Sandbox": 0.5}, 6},
	} {
		if got := claim(test.shares); got != test.want {
			t.Errorf("%s: claimed %d, want %d", name, got, test.want)
		}
	}
}

// sandboxed gives a claim back on a receipt that turned out to be of the sandbox.
func sandboxed(c claim.Claim, run runs.Run) claim.Outcome {
	o := givenBack([]claim.Claim{c}, run)[0]
	o.Environment = iap.Sandbox
	return o
}

func givenBack(claims []claim.Claim, run runs.Run) []claim.Outcome {
	outcomes := make([]claim.Outcome, len(claims))
	for i, c := range claims {
		outcomes[i] = claim.Outcome{ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID, At: noon, Stays: true}
	}
	return outcomes
}

// ClaimedReceipt is the receipt of one claim, or claim.ErrLost.
func (f fixture) ClaimedReceipt(ctx context.Context, id, generation int64) (claim.Receipt, error) {
	key := claim.Key{ReceiptID: id, Generation: generation}
	receipts, err := f.ClaimedReceipts(ctx, []claim.Key{key})
	if err != nil {
		return claim.Receipt{}, err
	}
	r, held := receipts[key]
	if !held {
		return claim.Receipt{}, claim.ErrLost
	}
	return r, nil
}
