package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/iap"
)

// bothEnvironments lets an id be looked up by the primary keys that begin with
// app and environment.
const bothEnvironments = `apps a CROSS JOIN unnest(ARRAY['Production', 'Sandbox']) AS e(environment)`

// Matches lists what has an id: a receipt, a customer, a subscription or purchase by
// its original transaction id, its current one or one that an event names, or a
// subscription by the web order line item of its period. receiptID is the same id as
// a number, 0 where it is none.
func (db *DB) Matches(ctx context.Context, id string, receiptID int64) ([]Match, error) {
	const query = `
		WITH shown AS (
			SELECT 'transaction' AS kind, s.bundle_id, s.environment, s.original_transaction_id AS transaction_id
			FROM ` + bothEnvironments + ` JOIN subscriptions s
			  ON s.bundle_id = a.bundle_id AND s.environment = e.environment AND s.original_transaction_id = $1
			UNION
			SELECT 'transaction', bundle_id, environment, original_transaction_id
			FROM subscriptions WHERE transaction_id = $1 AND transaction_id <> original_transaction_id
			UNION
			SELECT 'web_order', bundle_id, environment, original_transaction_id
			FROM subscriptions WHERE web_order_line_item_id = $1
			UNION
			SELECT 'transaction', v.bundle_id, v.environment, v.original_transaction_id
			FROM subscription_events v JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
			WHERE v.transaction_id = $1 AND v.transaction_id <> v.original_transaction_id
			UNION
			SELECT 'transaction', p.bundle_id, p.environment, p.transaction_id
			FROM ` + bothEnvironments + ` JOIN purchases p
			  ON p.bundle_id = a.bundle_id AND p.environment = e.environment AND p.transaction_id = $1
			UNION
			SELECT 'transaction', p.bundle_id, p.environment, p.transaction_id
			FROM subscription_events v JOIN purchases p USING (bundle_id, environment, transaction_id)
			WHERE v.original_transaction_id = $1
		)
		SELECT 'receipt' AS kind, bundle_id, coalesce(environment, '') AS environment, '' AS transaction_id, 1 AS receipts
		FROM receipts WHERE id = $2
		UNION ALL
		SELECT 'customer', bundle_id, '', '', count(*) FROM receipts WHERE customer_ref = $1 GROUP BY bundle_id
		UNION ALL
		SELECT kind, bundle_id, environment, transaction_id, (
			SELECT count(*) FROM receipt_subscriptions l WHERE l.original_transaction_id = transaction_id
			  AND l.bundle_id = shown.bundle_id AND l.environment = shown.environment) + (
			SELECT count(p.receipt_id) FROM purchases p WHERE p.transaction_id = shown.transaction_id
			  AND p.bundle_id = shown.bundle_id AND p.environment = shown.environment)
		FROM shown
		ORDER BY kind, bundle_id, environment, transaction_id`
	var matches []Match
	if err := db.db.SelectContext(ctx, &matches, query, id, receiptID); err != nil {
		return nil, fmt.Errorf("find %q: %w", id, err)
	}
	return matches, nil
}

// ReceiptsOfTransaction lists the ids of an app's receipts that show a
// subscription or purchase, at most limit of them.
func (db *DB) ReceiptsOfTransaction(ctx context.Context, bundleID, id string, limit int) ([]int64, error) {
	const query = `
		SELECT receipt_id FROM receipt_subscriptions WHERE original_transaction_id = $2 AND bundle_id = $1
		UNION
		SELECT receipt_id FROM purchases
		WHERE bundle_id = $1 AND environment IN ('Production', 'Sandbox') AND transaction_id = $2 AND receipt_id IS NOT NULL
		ORDER BY 1 LIMIT $3`
	var ids []int64
	if err := db.db.SelectContext(ctx, &ids, query, bundleID, id, limit); err != nil {
		return nil, fmt.Errorf("list receipts of transaction %s: %w", id, err)
	}
	return ids, nil
}

// SubscriptionsOf lists the subscriptions that receipts show, and those with an
// original transaction id, where one is given.
func (db *DB) SubscriptionsOf(ctx context.Context, receiptIDs []int64, bundleID, transactionID string) ([]iap.Subscription, error) {
	query := `
		SELECT row_to_json(found) FROM (
			SELECT ` + subscriptions().columns + ` FROM subscriptions
			WHERE (bundle_id, environment, original_transaction_id) IN (
				SELECT bundle_id, environment, original_transaction_id FROM receipt_subscriptions WHERE receipt_id = ANY($1)
				UNION SELECT $2, unnest(ARRAY['Production', 'Sandbox']), $3)
			ORDER BY expires_date DESC, original_transaction_id) found`
	found, err := listJSON[iap.Subscription](ctx, db, query, pq.Array(receiptIDs), bundleID, transactionID)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions of receipts: %w", err)
	}
	return found, nil
}

// PurchasesOf lists the one-time purchases that receipts were the last to show,
// and the one with a transaction id, where one is given; the newest first, at
// most limit.
func (db *DB) PurchasesOf(ctx context.Context, receiptIDs []int64, bundleID, transactionID string, limit int) ([]iap.Purchase, error) {
	query := `
		SELECT row_to_json(found) FROM (
			SELECT ` + purchases().columns + ` FROM purchases
			WHERE receipt_id = ANY($1)
			   OR (bundle_id = $2 AND environment IN ('Production', 'Sandbox') AND transaction_id = $3)
			ORDER BY purchase_date DESC NULLS LAST, transaction_id LIMIT $4) found`
	found, err := listJSON[iap.Purchase](ctx, db, query, pq.Array(receiptIDs), bundleID, transactionID, limit)
	if err != nil {
		return nil, fmt.Errorf("list purchases of receipts: %w", err)
	}
	return found, nil
}

// listJSON reads the JSON document that a statement returns for each row.
func listJSON[T any](ctx context.Context, db *DB, query string, args ...any) ([]T, error) {
	var documents []string
	if err := db.db.SelectContext(ctx, &documents, query, args...); err != nil {
		return nil, err
	}
	rows := make([]T, len(documents))
	for i, d := range documents {
		if err := json.Unmarshal([]byte(d), &rows[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// LastEvents lists the last events of subscriptions and purchases, the latest
// first, at most limit.
func (db *DB) LastEvents(ctx context.Context, keys []iap.SubscriptionKey, limit int) ([]Event, error) {
	const query = `
		SELECT v.id, v.type, v.bundle_id, v.environment, v.original_transaction_id, v.transaction_id, v.product_id,
		       v.as_of, v.recorded_at, v.run_id, v.receipt_id
		FROM (SELECT DISTINCT bundle_id, environment, original_transaction_id
		      FROM json_populate_recordset(NULL::receipt_subscriptions, $1)) k, LATERAL (
			SELECT e.id FROM subscription_events e
			WHERE e.original_transaction_id = k.original_transaction_id AND e.bundle_id = k.bundle_id
			  AND e.environment = k.environment
			ORDER BY e.id DESC LIMIT $2) latest JOIN subscription_events v USING (id)
		ORDER BY v.id DESC LIMIT $2`
	document, err := json.Marshal(keys)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	var events []Event
	if err := db.db.SelectContext(ctx, &events, query, string(document), limit); err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

// StoredReceipt is what the database holds of one receipt, without its bytes,
// and whether its app is enabled.
type StoredReceipt struct {
	ID          int64           `db:"id" json:"id"`
	BundleID    string          `db:"bundle_id" json:"bundle_id"`
	CustomerRef string          `db:"customer_ref" json:"customer_ref"`
	Kind        iap.ReceiptKind `db:"kind" json:"kind"`
	// Environment is empty until Apple taught it or the receipt claimed it.
	Environment iap.Environment `db:"environment" json:"environment"`
	// SHA256 is the hash of the bytes in hex, ByteSize their number.
	SHA256   string `db:"sha256" json:"sha256"`
	ByteSize int64  `db:"byte_size" json:"byte_size"`
	// Signature is iap.SignatureVerified or the reason why it is not; nil where
	// nobody looked.
	Signature *string          `db:"signature" json:"signature"`
	State     iap.ReceiptState `db:"state" json:"state"`
	CreatedAt time.Time        `db:"created_at" json:"created_at"`
	// NextCheckAt is nil where the receipt is never checked again.
	NextCheckAt   *time.Time `db:"next_check_at" json:"next_check_at"`
	NextCheckRule iap.Rule   `db:"next_check_rule" json:"next_check_rule"`
	// LastCheckedAt, LastCode and LastError are of the last answer: LastCode is
	// nil where there was none to read, LastError after a success.
	LastCheckedAt       *time.Time `db:"last_checked_at" json:"last_checked_at"`
	LastCode            *int       `db:"last_code" json:"last_code"`
	LastError           *string    `db:"last_error" json:"last_error"`
	ConsecutiveFailures int        `db:"consecutive_failures" json:"consecutive_failures"`
	// FailuresAlike is how many of these were of the class LastError, and
	// AlikeDays on how many days of UTC.
	FailuresAlike int `db:"failures_alike" json:"failures_alike"`
	AlikeDays     int `db:"alike_days" json:"alike_days"`
	// AcceptedAt is when Apple last accepted the receipt, nil where it never did;
	// QuarantinedAt since when it is in quarantine, nil where it is not.
	AcceptedAt    *time.Time `db:"accepted_at" json:"accepted_at"`
	QuarantinedAt *time.Time `db:"quarantined_at" json:"quarantined_at"`
	// CoveredBy is the receipt that shows all that this one shows and is checked
	// instead, nil where none is.
	CoveredBy *int64 `db:"covered_by" json:"covered_by"`
	// ClaimedUntil is set while a worker checks the receipt. RunID is the
	// run that it has it for, or that waits to ask again.
	ClaimedUntil *time.Time `db:"claimed_until" json:"claimed_until"`
	RunID        *int64     `db:"run_id" json:"run_id"`
	// FailedRunID is the run in which the last check failed, nil after a success.
	FailedRunID *int64 `db:"failed_run_id" json:"failed_run_id"`
	// AppPausedAt, AppPausedCode and AppPausedText are nil while the app is not paused.
	AppPausedAt   *time.Time `db:"paused_at" json:"app_paused_at"`
	AppPausedCode *string    `db:"paused_code" json:"app_paused_code"`
	AppPausedText *string    `db:"paused_text" json:"app_paused_text"`
	// AppQuarantineStoppedAt is nil while receipts of the app may be quarantined.
	AppQuarantineStoppedAt *time.Time `db:"quarantine_stopped_at" json:"app_quarantine_stopped_at"`
}

// ReceiptQuery chooses a page of receipts in the order of their ids. Every zero
// field but Limit chooses nothing by itself.
type ReceiptQuery struct {
	BundleID string
	// CustomerRef is a pointer because an empty reference is one as well.
	CustomerRef *string
	State       iap.ReceiptState
	// Failed chooses receipts whose last check failed, LastClass those of one class
	// of failures.
	Failed    bool
	LastClass string
	// RunID chooses receipts that are in a run, or whose last check failed in it.
	RunID int64
	// DueAt chooses what is due at a time and not claimed.
	DueAt time.Time
	// Quarantined chooses what is quarantined.
	Quarantined bool
	// IDs are the ids to choose from.
	IDs []int64
	// After is the last id of the page before.
	After int64
	Limit int
}
