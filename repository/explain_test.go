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
	transaction := func(id string, receipts int) repository.Match {
		return repository.Match{
			Kind: repository.MatchTransaction, BundleID: app, Environment: iap.Production, TransactionID: id, Receipts: receipts,
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
		{"subscription", "10", 10, []repository.Match{transaction("10", 2)}},
		{"purchase", "31", 31, []repository.Match{transaction("31", 1)}},
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

// TestMatchesOfAnyTransactionID finds a subscription by each of its ids, and a purchase
// by its original one.
func TestMatchesOfAnyTransactionID(t *testing.T) {
	f, sql := openBeside(t)
	sql.MustExecContext(t.Context(), `
		INSERT INTO subscriptions (bundle_id, environment, original_transaction_id, status, product_id, transaction_id,
			web_order_line_item_id, expires_date, is_in_billing_retry_period, is_trial_period, is_upgraded, as_of, updated_at)
		VALUES ($1, 'Production', '10', 'active', 'monthly', '12', '900', $2, false, false, false, $2, $2)`, app, noon)
	sql.MustExecContext(t.Context(), `
		INSERT INTO purchases (bundle_id, environment, transaction_id, original_transaction_id, product_id, as_of, updated_at)
		VALUES ($1, 'Production', '31', '30', 'coins', $2, $2)`, app, noon)
	sql.MustExecContext(t.Context(), `
		INSERT INTO subscription_events (type, bundle_id, environment, original_transaction_id, transaction_id, product_id, after, as_of, recorded_at)
		VALUES ('renewed', $1, 'Production', '10', '11', 'monthly', '{}', $2, $2), ('purchased', $1, 'Production', '30', '31', 'coins', '{}', $2, $2)`, app, noon)
	for id, want := range map[string]string{
		"10": "transaction 10", "11": "transaction 10", "12": "transaction 10", "900": "web_order 10", "30": "transaction 31", "31": "transaction 31", "13": "",
	} {
		matches, err := f.Matches(t.Context(), id, 0)
		f.must(err)
		got := ""
		for _, m := range matches {
			got += string(m.Kind) + " " + m.TransactionID
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
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
