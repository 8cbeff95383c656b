package judge

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// moment is a row at a time of Apple's.
type moment struct {
	key
	asOf int64
}

// told is what subscription_events tells, per row and moment: each event as its
// type and transaction, in order of these.
func (j *Judge) told(ctx context.Context) (map[moment][]string, error) {
	const query = `
		SELECT CASE WHEN after ? 'expires_date' THEN 'subscriptions' ELSE 'purchases' END, bundle_id, environment,
		       CASE WHEN after ? 'expires_date' THEN original_transaction_id ELSE transaction_id END, as_of,
		       type, transaction_id
		FROM subscription_events`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	told := make(map[moment][]string)
	for rows.Next() {
		var at moment
		var asOf time.Time
		var what, transactionID string
		if err := rows.Scan(&at.table, &at.bundleID, &at.environment, &at.id, &asOf, &what, &transactionID); err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		at.asOf = ms(asOf)
		told[at] = append(told[at], event(what, transactionID))
	}
	for _, events := range told {
		slices.Sort(events)
	}
	return told, rows.Err()
}

func event(what, transactionID string) string { return what + " of " + transactionID }

// imported is when the first receipt came in that shows a row.
func (j *Judge) imported(ctx context.Context) (map[key]time.Time, error) {
	const query = `
		SELECT 'subscriptions', s.bundle_id, s.environment, s.original_transaction_id, min(r.created_at)
		FROM receipt_subscriptions s JOIN receipts r ON r.id = s.receipt_id GROUP BY 1, 2, 3, 4
		UNION ALL
		SELECT 'purchases', p.bundle_id, p.environment, p.transaction_id, r.created_at
		FROM purchases p JOIN receipts r ON r.id = p.first_receipt_id`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read when receipts were imported: %w", err)
	}
	defer func() { _ = rows.Close() }()
	imported := make(map[key]time.Time)
	for rows.Next() {
		var k key
		var at time.Time
		if err := rows.Scan(&k.table, &k.bundleID, &k.environment, &k.id, &at); err != nil {
			return nil, fmt.Errorf("read when receipts were imported: %w", err)
		}
		imported[k] = at
	}
	return imported, rows.Err()
}
