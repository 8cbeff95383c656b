package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/iap"
)

// plannedEnvironment is the environment that a receipt r is first asked about in.
const plannedEnvironment = `coalesce(r.environment, 'Production')`

// Planned counts the receipts whose next look is no later than the last of the
// slots, which are in order; what is with a worker counts as due. Covered receipts,
// which rest without a call, are left out. It reads each of these receipts once and
// keeps the groups only.
func (db *DB) Planned(ctx context.Context, slots []time.Time) ([]PlannedGroup, error) {
	const query = `
		SELECT bundle_id, ` + plannedEnvironment + ` AS environment, next_check_rule,
		       width_bucket(next_check_at - interval '1 microsecond', $1::timestamptz[]) AS slot, count(*) AS receipts
		FROM receipts r WHERE next_check_at <= $2 AND next_check_rule <> 'covered'
		GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`
	if len(slots) == 0 {
		return nil, nil
	}
	var groups []PlannedGroup
	if err := db.db.SelectContext(ctx, &groups, query, timeArray(slots), slots[len(slots)-1]); err != nil {
		return nil, fmt.Errorf("count planned checks: %w", err)
	}
	return groups, nil
}

// plannedRow is a PlannedReceipt as Postgres sends it.
type plannedRow struct {
	ID            int64            `db:"id"`
	BundleID      string           `db:"bundle_id"`
	Environment   iap.Environment  `db:"environment"`
	State         iap.ReceiptState `db:"state"`
	NextCheckAt   time.Time        `db:"next_check_at"`
	Rule          iap.Rule         `db:"next_check_rule"`
	Subscriptions []byte           `db:"subscriptions"`
	Purchases     []byte           `db:"purchases"`
}

// PlannedSample reads receipts whose next look is no later than a time, with
// what they show, one after another: of each app one in so many, by a hash of
// their ids, and of an app that is not in oneIn none.
func (db *DB) PlannedSample(ctx context.Context, until time.Time, oneIn map[string]int64, each func(PlannedReceipt)) error {
	query := `
		SELECT r.id, r.bundle_id, ` + plannedEnvironment + ` AS environment, r.state, r.next_check_at, r.next_check_rule,
		       (SELECT json_agg(row_to_json(s)) FROM (
		            SELECT ` + subscriptions().columns + ` FROM receipt_subscriptions l
		            JOIN subscriptions USING (bundle_id, environment, original_transaction_id)
		            WHERE l.receipt_id = r.id) s) AS subscriptions,
		       (SELECT json_agg(row_to_json(p)) FROM (
		            SELECT ` + purchases().columns + ` FROM purchases WHERE receipt_id = r.id) p) AS purchases
		FROM receipts r JOIN unnest($2::text[], $3::bigint[]) AS n(bundle_id, one_in) USING (bundle_id)
		WHERE r.next_check_at <= $1 AND r.next_check_rule <> 'covered' AND (hashint8(r.id)::bigint & 2147483647) % n.one_in = 0`
	apps, parts := make([]string, 0, len(oneIn)), make([]int64, 0, len(oneIn))
	for app, part := range oneIn {
		apps, parts = append(apps, app), append(parts, part)
	}
	rows, err := db.db.QueryxContext(ctx, query, until, pq.Array(apps), pq.Array(parts))
	if err != nil {
		return fmt.Errorf("read planned receipts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var row plannedRow
		if err := rows.StructScan(&row); err != nil {
			return fmt.Errorf("read planned receipts: %w", err)
		}
		r, err := row.receipt()
		if err != nil {
			return fmt.Errorf("read planned receipt %d: %w", row.ID, err)
		}
		each(r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read planned receipts: %w", err)
	}
	return nil
}

func (row plannedRow) receipt() (PlannedReceipt, error) {
	r := PlannedReceipt{
		ID: row.ID, BundleID: row.BundleID, Environment: row.Environment, State: row.State,
		NextCheckAt: row.NextCheckAt.UTC(), Rule: row.Rule,
	}
	if row.Subscriptions != nil {
		if err := json.Unmarshal(row.Subscriptions, &r.Shows.Subscriptions); err != nil {
			return PlannedReceipt{}, err
		}
	}
	if row.Purchases != nil {
		if err := json.Unmarshal(row.Purchases, &r.Shows.Purchases); err != nil {
			return PlannedReceipt{}, err
		}
	}
	return r, nil
}

// timeArray is times as an array of Postgres.
func timeArray(times []time.Time) any {
	texts := make([]string, len(times))
	for i, t := range times {
		texts[i] = t.UTC().Format(time.RFC3339Nano)
	}
	return pq.Array(texts)
}

// PlannedGroup is how many receipts of an app and environment have their next
// look by a rule in the run of a slot.
type PlannedGroup struct {
	BundleID string `db:"bundle_id"`
	// Environment is Production where Apple has not taught it yet, which is
	// asked first.
	Environment iap.Environment `db:"environment"`
	Rule        iap.Rule        `db:"next_check_rule"`
	// Slot is the index of the first slot that is not before the look.
	Slot     int   `db:"slot"`
	Receipts int64 `db:"receipts"`
}

// PlannedReceipt is a receipt with its next look, and what it shows.
type PlannedReceipt struct {
	ID          int64
	BundleID    string
	Environment iap.Environment
	State       iap.ReceiptState
	NextCheckAt time.Time
	Rule        iap.Rule
	Shows       iap.Conclusion
}
