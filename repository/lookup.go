package repository

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/iap"
)

// storedReceipts reads receipts r with their apps.
const storedReceipts = `
	SELECT r.id, r.bundle_id, r.customer_ref, r.kind, coalesce(r.environment, '') AS environment,
	       encode(r.sha256, 'hex') AS sha256, r.byte_size, r.state, r.created_at, r.next_check_at, r.next_check_rule,
	       r.last_checked_at, r.last_code, r.last_error, r.signature, r.consecutive_failures, r.failures_alike, r.alike_days,
	       r.accepted_at, r.quarantined_at, r.covered_by, r.claimed_until, r.run_id, r.failed_run_id, a.paused_at, a.paused_code, a.paused_text,
	       CASE WHEN a.quarantine_resumed_at IS NULL THEN a.quarantine_stopped_at END AS quarantine_stopped_at
	FROM receipts r JOIN apps a USING (bundle_id)
`

// chosenReceipts is what the fields of a ReceiptQuery choose, by the parameters of
// queryArgs. Postgres plans with their values, so that what is not asked for is no
// part of the plan, and finds the indexes receipts_failed, receipts_quarantine and
// receipts_once.
const chosenReceipts = `r.id > $1 AND ($2 = '' OR r.bundle_id = $2) AND ($3::text IS NULL OR r.customer_ref = $3)
	AND ($4 = '' OR r.state = $4) AND ($5::bigint[] IS NULL OR r.id = ANY($5))
	AND (NOT $6 OR r.last_error IS NOT NULL OR r.failed_run_id IS NOT NULL)
	AND ($7 = '' OR r.last_error = $7)
	AND ($8::bigint = 0 OR r.failed_run_id = $8 OR NOT $6 AND r.run_id = $8)
	AND ($9::timestamptz IS NULL OR r.claimed_until IS NULL AND r.next_check_at <= $9)
	AND (NOT $10 OR ` + quarantined + `)`

// What belongs to a run and what is due are in several indexes, or in several places
// of one. Postgres would read all receipts in the order of their ids instead, as if a
// page of them came soon. So the ids come first: those of a page, unless a state is
// to be chosen among them.
const (
	idsOfRun = ` AND r.id = ANY(ARRAY(
		SELECT id FROM receipts WHERE run_id = $8 AND claimed_until IS NULL AND id > $1
		UNION SELECT id FROM receipts WHERE run_id = $8 AND claimed_until IS NOT NULL AND id > $1
		UNION SELECT id FROM receipts WHERE failed_run_id = $8 AND id > $1
		ORDER BY id LIMIT CASE WHEN $2 = '' AND $4 = '' AND $9 IS NULL THEN $11::bigint END))`
	idsDue = ` AND r.id = ANY(ARRAY(
		SELECT d.id FROM apps CROSS JOIN LATERAL (
			SELECT id FROM receipts WHERE bundle_id = apps.bundle_id AND claimed_until IS NULL AND next_check_at <= $9 OFFSET 0) d
		WHERE d.id > $1 AND ($2 = '' OR apps.bundle_id = $2)
		ORDER BY d.id LIMIT CASE WHEN $4 = '' THEN $11::bigint END))`
)

func queryArgs(q ReceiptQuery) []any {
	return []any{
		q.After, q.BundleID, q.CustomerRef, q.State, pq.Array(q.IDs), q.Failed, q.LastClass, q.RunID, timeOrNull(q.DueAt),
		q.Quarantined, q.Limit,
	}
}

// storedReceiptsQuery is the statement for a query.
func storedReceiptsQuery(q ReceiptQuery) string {
	ids := ""
	switch {
	case q.CustomerRef != nil, q.IDs != nil, q.Failed, q.LastClass != "", q.Quarantined: // few
	case q.RunID != 0:
		ids = idsOfRun
	case !q.DueAt.IsZero():
		ids = idsDue
	}
	return storedReceipts + `WHERE ` + chosenReceipts + ids + ` ORDER BY r.id LIMIT $11`
}

// StoredReceipts is a page of receipts, without their bytes.
func (db *DB) StoredReceipts(ctx context.Context, q ReceiptQuery) ([]StoredReceipt, error) {
	var receipts []StoredReceipt
	err := db.db.SelectContext(ctx, &receipts, storedReceiptsQuery(q), queryArgs(q)...)
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	return receipts, nil
}

// StoredReceipt is one receipt, without its bytes. Its error is ErrNotFound
// where there is none with the id.
func (db *DB) StoredReceipt(ctx context.Context, id int64) (StoredReceipt, error) {
	const query = storedReceipts + `WHERE r.id = $1`
	var r StoredReceipt
	if err := db.db.GetContext(ctx, &r, query, id); err != nil {
		return StoredReceipt{}, fmt.Errorf("find receipt %d: %w", id, named(err))
	}
	return r, nil
}

// Recheck makes receipts due now, and returns which, ordered by id. What can never
// be asked about stays as it is, and so does what a worker checks now: its
// result would say again when the next check is.
func (db *DB) Recheck(ctx context.Context, ids []int64, now time.Time) ([]int64, error) {
	const query = `
		UPDATE receipts SET next_check_at = least(next_check_at, $2), next_check_rule = $3
		WHERE id = ANY($1) AND claimed_until IS NULL AND state NOT IN ('xcode', 'too_large_for_verify_receipt')
		RETURNING id`
	var due []int64
	if err := db.db.SelectContext(ctx, &due, query, pq.Array(ids), now, iap.RuleRequested); err != nil {
		return nil, fmt.Errorf("recheck %d receipts: %w", len(ids), err)
	}
	slices.Sort(due)
	return due, nil
}

// MatchKind is what an id may be the id of.
type MatchKind string

// The kinds of things that an operator asks about.
const (
	MatchReceipt     MatchKind = "receipt"
	MatchCustomer    MatchKind = "customer"
	MatchTransaction MatchKind = "transaction"
	MatchWebOrder    MatchKind = "web_order"
)

// Match is one thing that goes by an id: a receipt, the receipts of a customer
// of one app, or a subscription or purchase.
type Match struct {
	Kind        MatchKind       `db:"kind" json:"kind"`
	BundleID    string          `db:"bundle_id" json:"bundle_id"`
	Environment iap.Environment `db:"environment" json:"environment,omitempty"`
	// TransactionID is the key of a subscription, its original transaction id, or of a
	// purchase; empty for what is neither. The id that was given may be another of its ids.
	TransactionID string `db:"transaction_id" json:"transaction_id,omitempty"`
	// Receipts is how many receipts there are of it.
	Receipts int `db:"receipts" json:"receipts"`
}
