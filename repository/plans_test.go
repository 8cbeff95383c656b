package repository_test

import (
	"strings"
	"testing"

	"revalidator/repository"
)

// TestPlansOfReceipts holds each way to find receipts to its index, among many that
// are not looked for.
func TestPlansOfReceipts(t *testing.T) {
	f, sql := openBeside(t)
	sql.MustExecContext(t.Context(), `
		INSERT INTO receipts (bundle_id, customer_ref, kind, sha256, byte_size, state, next_check_at, next_check_rule, created_at,
		                      last_error, failed_run_id, run_id, claimed_until)
		SELECT $1, 'customer-' || n, 'app_receipt', sha256(n::text::bytea), 100,
		       CASE WHEN n % 1000 = 0 THEN 'malformed' ELSE 'valid' END,
		       CASE WHEN n % 1000 <> 1 THEN $2::timestamptz + interval '1 day' ELSE $2 END, 'sweep', $2,
		       CASE WHEN n % 100 = 2 THEN 'timeout' END, CASE WHEN n % 200 = 2 THEN 7 END, CASE WHEN n % 1000 < 2 THEN 7 END,
		       CASE WHEN n % 1000 = 1 AND n < 5000 THEN $2::timestamptz END
		FROM generate_series(1, 100000) n`, app, noon)
	sql.MustExecContext(t.Context(), `VACUUM ANALYZE receipts`)
	customer := "customer-7"
	tests := []struct {
		name    string
		query   repository.ReceiptQuery
		indexes []string
	}{
		{"failed", repository.ReceiptQuery{Failed: true}, []string{"receipts_failed"}},
		{"class", repository.ReceiptQuery{LastClass: "timeout", BundleID: app}, []string{"receipts_failed"}},
		{"failed in a run", repository.ReceiptQuery{Failed: true, RunID: 7}, []string{"receipts_failed"}},
		{"run", repository.ReceiptQuery{RunID: 7}, []string{"receipts_failed", "receipts_run", "receipts_claimed"}},
		{"due", repository.ReceiptQuery{DueAt: noon}, []string{"receipts_due"}},
		{"quarantined", repository.ReceiptQuery{Quarantined: true}, []string{"receipts_quarantine"}},
		{"customer", repository.ReceiptQuery{CustomerRef: &customer}, []string{"receipts_once"}},
	}
	for _, test := range tests {
		test.query.Limit = 50
		plan, err := f.PlanOfReceipts(t.Context(), test.query)
		f.must(err)
		for _, index := range test.indexes {
			if !strings.Contains(plan, index) {
				t.Errorf("%s: not by %s:\n%s", test.name, index, plan)
			}
		}
		if strings.Contains(plan, "Seq Scan on receipts") || strings.Contains(plan, "id > '0'::bigint)\n                      Filter") {
			t.Errorf("%s: reads all receipts:\n%s", test.name, plan)
		}
	}
}

// TestPlansOfEvents holds each way to find events to its index.
func TestPlansOfEvents(t *testing.T) {
	f, sql := openBeside(t)
	f.customers(app, 1)
	sql.MustExecContext(t.Context(), `
		INSERT INTO subscription_events (type, bundle_id, environment, original_transaction_id, transaction_id, product_id, after,
		                                 as_of, recorded_at, run_id)
		SELECT 'renewed', $1, 'Production', n, n, CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'monthly' END, '{}', $2, $2, n / 1000
		FROM generate_series(1, 50000) n`, app, noon)
	sql.MustExecContext(t.Context(), `VACUUM ANALYZE subscription_events`)
	customer := "customer-0"
	for index, query := range map[string]repository.EventQuery{
		"subscription_events_run":          {RunID: 7},
		"subscription_events_product":      {ProductID: "rare"},
		"subscription_events_subscription": {CustomerRef: &customer},
	} {
		query.Limit = 20
		plan, err := f.PlanOfEvents(t.Context(), query)
		f.must(err)
		if !strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan on subscription_events") {
			t.Errorf("not by %s:\n%s", index, plan)
		}
	}
	products, err := f.EventProducts(t.Context())
	f.must(err)
	if got := strings.Join(products, " "); got != "monthly rare" {
		t.Errorf("products: got %q, want both", got)
	}
}
