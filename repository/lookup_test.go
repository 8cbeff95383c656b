package repository_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/repository"
)

func TestStoredReceipts(t *testing.T) {
	f := open(t)
	f.addApp("com.example.other", 1)
	f.customers(app, 3)
	f.customers("com.example.other", 1)
	first, nobody := "customer-0", ""
	tests := []struct {
		name  string
		query repository.ReceiptQuery
		want  []int64
	}{
		{"all", repository.ReceiptQuery{}, []int64{1, 2, 3, 4}},
		{"page", repository.ReceiptQuery{After: 1, Limit: 2}, []int64{2, 3}},
		{"app", repository.ReceiptQuery{BundleID: app}, []int64{1, 2, 3}},
		{"customer", repository.ReceiptQuery{CustomerRef: &first}, []int64{1, 4}},
		{"empty customer", repository.ReceiptQuery{CustomerRef: &nobody}, nil},
		{"state", repository.ReceiptQuery{State: iap.ReceiptValid}, nil},
		{"ids", repository.ReceiptQuery{IDs: []int64{4, 2, 9}}, []int64{2, 4}},
	}
	for _, test := range tests {
		if test.query.Limit == 0 {
			test.query.Limit = 10
		}
		found, err := f.StoredReceipts(t.Context(), test.query)
		f.must(err)
		var got []int64
		for _, r := range found {
			got = append(got, r.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if _, err := f.StoredReceipt(t.Context(), 99); !errors.Is(err, database.ErrNotFound) {
		t.Errorf("receipt 99: got %v, want %v", err, database.ErrNotFound)
	}
}

// TestFailedReceiptsAreFound chooses by how the last check went, and by the run of it.
func TestFailedReceiptsAreFound(t *testing.T) {
	f, sql := openBeside(t)
	f.customers(app, 5)
	first := f.run()
	claims := f.claim(first, 4)
	failure := func(c claim.Claim, class string, stays bool) claim.Outcome {
		return claim.Outcome{
			ReceiptID: c.ReceiptID, BundleID: app, Generation: c.Generation, RunID: first.ID, Asked: true, At: noon, Calls: 1, Stays: stays,
			Failure: class, NextCheck: iap.Check{At: noon.Add(time.Hour), Rule: iap.RuleRetry},
		}
	}
	f.save(failure(claims[0], "timeout", false))
	f.save(failure(claims[1], "server_error", true))
	f.save(success(claims[2], first, noon))
	tests := []struct {
		name  string
		query repository.ReceiptQuery
		want  []int64
	}{
		{"failed", repository.ReceiptQuery{Failed: true}, []int64{1, 2}},
		{"class", repository.ReceiptQuery{LastClass: "timeout"}, []int64{1}},
		{"failed, of a class that none had", repository.ReceiptQuery{Failed: true, LastClass: "panicked"}, nil},
		{"run: failed in it, waiting in it, claimed for it", repository.ReceiptQuery{RunID: first.ID}, []int64{1, 2, 4}},
		{"failed in the run", repository.ReceiptQuery{Failed: true, RunID: first.ID}, []int64{1, 2}},
		{"failed in another run", repository.ReceiptQuery{Failed: true, RunID: 1 << 40}, nil},
		{"due now", repository.ReceiptQuery{DueAt: noon}, []int64{5}},
		{"due later", repository.ReceiptQuery{DueAt: noon.Add(time.Hour)}, []int64{1, 2, 5}},
		{"quarantined", repository.ReceiptQuery{Quarantined: true}, nil},
	}
	for _, test := range tests {
		test.query.Limit = 10
		if diff := cmp.Diff(test.want, f.idsOf(test.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	sql.MustExecContext(t.Context(), `UPDATE receipts SET state = 'malformed' WHERE id = 3`)
	if diff := cmp.Diff([]int64{3}, f.idsOf(repository.ReceiptQuery{Quarantined: true, Limit: 10})); diff != "" {
		t.Errorf("quarantined (-want +got):\n%s", diff)
	}
}

// idsOf are the ids of what a query chooses.
func (f fixture) idsOf(q repository.ReceiptQuery) (ids []int64) {
	f.t.Helper()
	found, err := f.StoredReceipts(f.t.Context(), q)
	f.must(err)
	for _, r := range found {
		ids = append(ids, r.ID)
	}
	return ids
}

// TestRecheck makes due what may be asked about, and leaves a receipt to the
// worker that has it.
func TestRecheck(t *testing.T) {
	f := open(t)
	f.customers(app, 3)
	run := f.run()
	claims := f.claim(run, 2)
	f.save(success(claims[0], run, noon))
	later := noon.Add(30 * time.Minute)
	got, err := f.Recheck(t.Context(), []int64{1, 2, 3}, later)
	f.must(err)
	if diff := cmp.Diff([]int64{1, 3}, got); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	r, err := f.StoredReceipt(t.Context(), 1)
	f.must(err)
	if !r.NextCheckAt.Equal(later) || r.NextCheckRule != iap.RuleRequested {
		t.Errorf("next check: got %v by %s, want %v by %s", r.NextCheckAt, r.NextCheckRule, later, iap.RuleRequested)
	}
	r, err = f.StoredReceipt(t.Context(), 3)
	f.must(err)
	if !r.NextCheckAt.Equal(noon) {
		t.Errorf("a receipt that was due already: got %v, want %v as before", r.NextCheckAt, noon)
	}
}
