package repository

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/lib/pq"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// bothEnvironments lets an id be looked up by the primary keys that begin with
// app and environment.
const bothEnvironments = `apps a CROSS JOIN unnest(ARRAY['Production', 'Sandbox']) AS e(environment)`

// Matches lists what has an id: a receipt, a customer, a subscription or purchase by
// its original transaction id, its current one or one that an event names, or a
// subscription by the web order line item of its period. receiptID is the same id as
// a number, 0 where it is none.
func (db *DB) Matches(ctx context.Context, id string, receiptID int64) ([]ledger.Match, error) {
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
	var matches []ledger.Match
	if err := db.db.SelectContext(ctx, &matches, query, id, receiptID); err != nil {
		return nil, fmt.Errorf("look up %q: %w", id, err)
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
func (db *DB) LastEvents(ctx context.Context, keys []iap.SubscriptionKey, limit int) ([]ledger.Event, error) {
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
	var events []ledger.Event
	if err := db.db.SelectContext(ctx, &events, query, string(document), limit); err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}
