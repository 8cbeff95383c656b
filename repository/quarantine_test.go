package repository_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// quarantine sets receipts aside in the states, and returns their ids.
func (f fixture) quarantine(bundleID string, states ...iap.ReceiptState) []int64 {
	f.t.Helper()
	f.receipts(bundleID, len(states))
	run := f.run()
	var ids []int64
	var outcomes []claim.Outcome
	claims := f.claim(run, 100)
	slices.SortFunc(claims, func(a, b claim.Claim) int { return int(a.ReceiptID - b.ReceiptID) })
	for i, c := range claims {
		o := givenBack([]claim.Claim{c}, run)[0]
		o.Asked, o.Stays, o.Failure, o.State = true, false, "panicked", states[i]
		o.NextCheck = iap.Check{Rule: iap.RuleSetAside}
		outcomes = append(outcomes, o)
		ids = append(ids, c.ReceiptID)
	}
	f.save(outcomes...)
	return ids
}

func TestQuarantine(t *testing.T) {
	f := open(t)
	ids := f.quarantine(app, iap.ReceiptStates()...)
	all, err := f.Quarantined(t.Context(), repository.QuarantineQuery{Limit: 100})
	f.must(err)
	reasons := make([]string, len(all))
	for i, r := range all {
		reasons[i] = r.Reason
	}
	want := []string{"malformed", "not_authenticated", "wrong_app", "account_gone", "too_large_for_verify_receipt", "panicked"}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-want +got)\n%s", diff)
	}
	counts, err := f.QuarantineCounts(t.Context(), repository.QuarantineQuery{BundleID: app, Reason: "panicked"})
	f.must(err)
	if diff := cmp.Diff([]repository.QuarantineCount{{BundleID: app, Reason: "panicked", Receipts: 1}}, counts); diff != "" {
		t.Errorf("counts (-want +got)\n%s", diff)
	}

	later := noon.Add(time.Hour)
	released, err := f.Release(t.Context(), repository.QuarantineQuery{IDs: ids[:3], Limit: 100}, later)
	f.must(err)
	if diff := cmp.Diff([]repository.ReleasedReceipt{{ID: ids[2], BundleID: app, Reason: "malformed"}}, released); diff != "" {
		t.Errorf("of a new, a valid and a malformed one released (-want +got)\n%s", diff)
	}
	var rest int
	for after := int64(0); ; {
		page, err := f.Release(t.Context(), repository.QuarantineQuery{BundleID: app, After: after, Limit: 2}, later)
		f.must(err)
		if len(page) == 0 {
			break
		}
		rest, after = rest+len(page), page[len(page)-1].ID
	}
	if rest != len(want)-1 {
		t.Errorf("released %d more, want %d", rest, len(want)-1)
	}
	r, err := f.StoredReceipt(t.Context(), ids[len(ids)-1])
	f.must(err)
	if r.State != iap.ReceiptNew || r.ConsecutiveFailures != 0 || r.NextCheckAt == nil || !r.NextCheckAt.Equal(later) || r.NextCheckRule != iap.RuleRequested {
		t.Errorf("released receipt %+v, want as if new and due", r)
	}
}

// TestReleaseLeavesWhatIsInHand: its result says what comes next.
func TestReleaseLeavesWhatIsInHand(t *testing.T) {
	f := open(t)
	ids := f.quarantine(app, iap.ReceiptMalformed)
	_, err := f.Recheck(t.Context(), ids, noon)
	f.must(err)
	later := runs.Run{Kind: runs.Manual, ScheduledFor: noon, Cutoff: noon, Deadline: noon.Add(time.Hour)}
	later, err = f.OpenRun(t.Context(), later, runs.Lease{Owner: "test", Until: noon.Add(time.Minute)}, noon)
	f.must(err)
	if claims := f.claim(later, 1); len(claims) != 1 {
		t.Fatalf("claimed %v, want the receipt", claims)
	}
	released, err := f.Release(t.Context(), repository.QuarantineQuery{IDs: ids, Limit: 10}, noon)
	f.must(err)
	if len(released) != 0 {
		t.Errorf("released %v, which is in hand", released)
	}
}
