package repository_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// planned gives receipts of the app their next looks: of each claim the outcome
// is a success that shows nothing but for the first, which shows a subscription
// and a purchase.
func (f observed) planned(env iap.Environment, looks ...iap.Check) {
	f.t.Helper()
	run := f.run()
	for i, c := range f.claim(run, len(looks)) {
		o := success(c, run, noon)
		o.NextCheck, o.Environment = looks[i], env
		o.Conclusion.Purchases = []iap.Purchase{{
			BundleID: c.BundleID, Environment: iap.Production, TransactionID: "2000", OriginalTransactionID: "2000",
			ProductID: "coins", PurchaseDate: noon, AsOf: noon,
		}}
		if i > 0 {
			o.Conclusion = nil
		}
		f.save(o)
		if i == 0 { // planned from what it shows
			_, err := f.raw.ExecContext(f.t.Context(), `UPDATE receipts SET next_check_at = $2, next_check_rule = $3 WHERE id = $1`,
				c.ReceiptID, looks[i].At, looks[i].Rule)
			f.must(err)
		}
	}
}

func TestPlanned(t *testing.T) {
	f := openObserved(t, 4)
	f.receipts(app, 7)
	slots := []time.Time{noon.Add(time.Hour), noon.Add(25 * time.Hour)}
	f.planned(iap.Sandbox,
		iap.Check{At: noon, Rule: iap.RuleRenewal},                           // overdue
		iap.Check{At: slots[0], Rule: iap.RuleRenewal},                       // at the start of a slot
		iap.Check{At: slots[0].Add(time.Millisecond), Rule: iap.RuleRenewal}, // just missed
		iap.Check{At: slots[1], Rule: iap.RuleBillingRetry},                  // at the start of the last
		iap.Check{At: slots[1].Add(time.Millisecond), Rule: iap.RuleRenewal}, // too late
		iap.Check{Rule: iap.RuleSettled},                                     // never
		iap.Check{At: slots[0], Rule: iap.RuleCovered},                       // another one is checked
	)
	f.addApp("com.example.new", 1)
	f.receipts("com.example.new", 3) // due since noon, and one of them in hand
	f.claim(f.manualRun(noon.Add(time.Minute)), 1)
	got, err := f.Planned(t.Context(), slots)
	f.must(err)
	want := []repository.PlannedGroup{
		{BundleID: "com.example.new", Environment: iap.Production, Rule: iap.RuleNew, Slot: 0, Receipts: 3},
		{BundleID: app, Environment: iap.Sandbox, Rule: iap.RuleBillingRetry, Slot: 1, Receipts: 1},
		{BundleID: app, Environment: iap.Sandbox, Rule: iap.RuleRenewal, Slot: 0, Receipts: 2},
		{BundleID: app, Environment: iap.Sandbox, Rule: iap.RuleRenewal, Slot: 1, Receipts: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("planned looks (-want +got)\n%s", diff)
	}
	none, err := f.Planned(t.Context(), nil)
	f.must(err)
	if len(none) > 0 {
		t.Errorf("without slots: got %v", none)
	}
}

func TestPlannedSample(t *testing.T) {
	f := openObserved(t, 4)
	f.addApp("com.example.left.out", 1)
	f.receipts("com.example.left.out", 3)
	f.addApp("com.example.many", 1)
	f.receipts("com.example.many", 1000)
	f.receipts(app, 2)
	_, err := f.PauseApp(t.Context(), "com.example.many", "test", noon)
	f.must(err)
	_, err = f.PauseApp(t.Context(), "com.example.left.out", "test", noon)
	f.must(err)
	f.planned(iap.Production, iap.Check{At: noon.Add(time.Hour), Rule: iap.RuleRenewal}, iap.Check{At: noon.Add(2 * time.Hour), Rule: iap.RuleNoPurchases})
	found := make(map[string][]repository.PlannedReceipt)
	f.must(f.PlannedSample(t.Context(), noon.Add(time.Hour), map[string]int64{app: 1, "com.example.many": 10}, func(r repository.PlannedReceipt) {
		found[r.BundleID] = append(found[r.BundleID], r)
	}))
	if n := len(found["com.example.many"]); n < 50 || n > 150 {
		t.Errorf("one in 10 of 1000: got %d", n)
	}
	if n := len(found["com.example.left.out"]); n > 0 {
		t.Errorf("an app that was not asked for: got %d", n)
	}
	first := success(claim.Claim{BundleID: app}, runs.Run{}, noon)
	want := []repository.PlannedReceipt{{
		BundleID: app, Environment: iap.Production, State: iap.ReceiptValid, NextCheckAt: noon.Add(time.Hour), Rule: iap.RuleRenewal,
		Shows: iap.Conclusion{
			Subscriptions: first.Conclusion.Subscriptions,
			Purchases: []iap.Purchase{{
				BundleID: app, Environment: iap.Production, TransactionID: "2000", OriginalTransactionID: "2000",
				ProductID: "coins", PurchaseDate: noon, AsOf: noon,
			}},
		},
	}}
	if diff := cmp.Diff(want, found[app], cmpopts.IgnoreFields(repository.PlannedReceipt{}, "ID"), cmpopts.IgnoreTypes(iap.Evidence{}, iap.Groups(0))); diff != "" {
		t.Errorf("receipts of the reader (-want +got)\n%s", diff)
	}
}
