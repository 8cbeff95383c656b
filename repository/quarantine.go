package repository

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/iap"
)

// quarantined is a receipt r that is set aside for what it is, in the words of
// the index receipts_quarantine: those of iap.QuarantineStates.
const quarantined = `r.state NOT IN ('new', 'valid', 'xcode')`

// quarantineReason is why; a state that says little is told by the last failure.
const quarantineReason = `CASE WHEN r.state = 'quarantined' THEN coalesce(r.last_error, r.state) ELSE r.state END`

// quarantineArgs are the parameters of inQuarantine.
func quarantineArgs(q QuarantineQuery) []any {
	var since *time.Time
	if !q.Since.IsZero() {
		since = &q.Since
	}
	return []any{q.After, q.BundleID, q.Reason, pq.Array(q.IDs), since}
}

// inQuarantine is what the fields of a QuarantineQuery choose.
const inQuarantine = quarantined + ` AND r.id > $1 AND ($2 = '' OR r.bundle_id = $2)
	AND ($3 = '' OR ` + quarantineReason + ` = $3) AND ($4::bigint[] IS NULL OR r.id = ANY($4))
	AND ($5::timestamptz IS NULL OR r.quarantined_at >= $5)`

// Quarantined is a page of quarantined receipts in the order of their ids.
func (db *DB) Quarantined(ctx context.Context, q QuarantineQuery) ([]QuarantinedReceipt, error) {
	const query = storedReceipts + `WHERE ` + inQuarantine + ` ORDER BY r.id LIMIT $6`
	var stored []StoredReceipt
	if err := db.db.SelectContext(ctx, &stored, query, append(quarantineArgs(q), q.Limit)...); err != nil {
		return nil, fmt.Errorf("list quarantined receipts: %w", err)
	}
	receipts := make([]QuarantinedReceipt, len(stored))
	for i, r := range stored {
		receipts[i] = QuarantinedReceipt{StoredReceipt: r, Reason: string(r.State)}
		if r.State == iap.ReceiptQuarantined && r.LastError != nil {
			receipts[i].Reason = *r.LastError
		}
	}
	return receipts, nil
}

// QuarantineCounts counts what a query chooses, by app and reason; its page does
// not matter.
func (db *DB) QuarantineCounts(ctx context.Context, q QuarantineQuery) ([]QuarantineCount, error) {
	const query = `
		SELECT r.bundle_id, ` + quarantineReason + ` AS reason, count(*) AS receipts
		FROM receipts r WHERE ` + inQuarantine + `
		GROUP BY 1, 2 ORDER BY 1, 2`
	q.After = 0
	var counts []QuarantineCount
	if err := db.db.SelectContext(ctx, &counts, query, quarantineArgs(q)...); err != nil {
		return nil, fmt.Errorf("count quarantined receipts: %w", err)
	}
	return counts, nil
}

// Release makes a page of quarantined receipts due now, as if nothing were known
// of them, and returns them by their ids. What a worker has in hand is left to
// it.
func (db *DB) Release(ctx context.Context, q QuarantineQuery, now time.Time) ([]ReleasedReceipt, error) {
	const query = `
		UPDATE receipts SET state = 'new', next_check_at = $7, next_check_rule = $8,
			quarantined_at = NULL, consecutive_failures = 0, failures_alike = 0, alike_days = 0
		FROM (
			SELECT r.id, ` + quarantineReason + ` AS reason FROM receipts r
			WHERE ` + inQuarantine + ` AND r.claimed_until IS NULL
			ORDER BY r.id LIMIT $6 FOR NO KEY UPDATE
		) page
		WHERE receipts.id = page.id
		RETURNING receipts.id, receipts.bundle_id, page.reason`
	var released []ReleasedReceipt
	if err := db.db.SelectContext(ctx, &released, query, append(quarantineArgs(q), q.Limit, now, iap.RuleRequested)...); err != nil {
		return nil, fmt.Errorf("release quarantined receipts: %w", err)
	}
	slices.SortFunc(released, func(a, b ReleasedReceipt) int { return int(a.ID - b.ID) })
	return released, nil
}

// QuarantineStop is an app whose quarantining is stopped.
type QuarantineStop struct {
	BundleID string    `db:"bundle_id" json:"bundle_id"`
	Since    time.Time `db:"quarantine_stopped_at" json:"since"`
	Class    string    `db:"quarantine_stopped_for" json:"class"`
	// Accused of Checked receipts got the class within the last day.
	Accused int64 `db:"accused" json:"accused"`
	Checked int64 `db:"checked" json:"checked"`
	// Quarantined is how many receipts that Apple accepted before were quarantined
	// for the class in the day before it was stopped, and since.
	Quarantined int64 `db:"quarantined" json:"quarantined"`
}

// QuarantineQuery chooses quarantined receipts. Every zero field but Limit
// chooses nothing by itself.
type QuarantineQuery struct {
	BundleID string
	// Reason is a state of iap.QuarantineStates, or the class of a failure.
	Reason string
	IDs    []int64
	// Since is from when on they were quarantined.
	Since time.Time
	// After is the last id of the page before, Limit the most for a page.
	After int64
	Limit int
}

// QuarantinedReceipt is a stored receipt that is set aside, and why.
type QuarantinedReceipt struct {
	StoredReceipt
	Reason string `json:"reason"`
}

// QuarantineCount is how many receipts of an app are quarantined for a reason.
type QuarantineCount struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	Reason   string `db:"reason" json:"reason"`
	Receipts int64  `db:"receipts" json:"receipts"`
}

// ReleasedReceipt is a receipt that was quarantined.
type ReleasedReceipt struct {
	ID       int64  `db:"id" json:"id"`
	BundleID string `db:"bundle_id" json:"bundle_id"`
	Reason   string `db:"reason" json:"reason"`
}
