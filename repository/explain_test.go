package repository_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
	"revalidator/repository"
)

// TestMatches looks up ids that are those of one thing, of several and of none.
func TestMatches(t *testing.T) {
	f := open(t)
	f.addApp("com.example.other", 1)
	family(f)
	f.receipts("com.example.other", 1)
	customer := func(bundleID string) repository.Match {
		return repository.Match{Kind: repository.MatchCustomer, BundleID: bundleID, Receipts: 1}
	}
	transaction := func(receipts int) repository.Match {
		return repository.Match{
			Kind: repository.MatchTransaction, BundleID: app, Environment: iap.Production, Receipts: receipts,
		}
	}
	tests := []struct {
		name, id  string
		receiptID int64
		want      []repository.Match
	}{
		{"nothing", "99", 99, nil},
		{"receipt", "2", 2, []repository.Match{{Kind: repository.MatchReceipt, BundleID: app, Environment: iap.Production, Receipts: 1}}},
		{"customer of two apps", "customer-0", 0, []repository.Match{customer("com.example.other"), customer(app)}},
		{"subscription", "10", 10, []repository.Match{transaction(2)}},
		{"purchase", "31", 31, []repository.Match{transaction(1)}},
	}
	for _, test := range tests {
		got, err := f.Matches(t.Context(), test.id, test.receiptID)
		f.must(err)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	ids, err := f.ReceiptsOfTransaction(t.Context(), app, "10", 10)
	f.must(err)
	if diff := cmp.Diff([]int64{1, 2}, ids); diff != "" {
		t.Errorf("receipts of subscription 10 (-want +got):\n%s", diff)
	}
}

func TestLastEvents(t *testing.T) {
	f := open(t)
	family(f)
	keys := []iap.SubscriptionKey{
		{BundleID: app, Environment: iap.Production, OriginalTransactionID: "10"},
		{BundleID: app, Environment: iap.Production, OriginalTransactionID: "10"},
		{BundleID: app, Environment: iap.Production, OriginalTransactionID: "31"},
		{BundleID: app, Environment: iap.Sandbox, OriginalTransactionID: "11"},
	}
	events, err := f.LastEvents(t.Context(), keys, 10)
	f.must(err)
	var got []string
	for _, e := range events {
		got = append(got, string(e.Type)+" "+e.OriginalTransactionID)
	}
	if diff := cmp.Diff([]string{"purchased 31", "started 10"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
