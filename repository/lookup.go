package repository

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/iap"
)

// StoredReceipt is what the database holds of one receipt, without its bytes,
// and whether its app is at work.
type StoredReceipt struct {
	ID          int64           `db:"id" json:"id"`
	BundleID    string          `db:"bundle_id" json:"bundle_id"`
	CustomerRef string          `db:"customer_ref" json:"customer_ref"`
	Kind        iap.ReceiptKind `db:"kind" json:"kind"`
	// Environment is empty until Apple taught it or the receipt claimed it.
	Environment iap.Environment `db:"environment" json:"environment"`
	// SHA256 is the hash of the bytes in hex, ByteSize their number.
	SHA256    string           `db:"sha256" json:"sha256"`
	ByteSize  int64            `db:"byte_size" json:"byte_size"`
	State     iap.ReceiptState `db:"state" json:"state"`
	CreatedAt time.Time        `db:"created_at" json:"created_at"`
	// NextCheckAt is nil where the receipt is never looked at again.
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
	// ClaimedUntil is set while a worker has the receipt in hand. RunID is the
	// run that it has it for, or that waits to ask again.
	ClaimedUntil *time.Time `db:"claimed_until" json:"claimed_until"`
	RunID        *int64     `db:"run_id" json:"run_id"`
	// AppPausedAt, AppPausedCode and AppPausedText are nil while the app is not paused.
	AppPausedAt   *time.Time `db:"paused_at" json:"app_paused_at"`
	AppPausedCode *string    `db:"paused_code" json:"app_paused_code"`
	AppPausedText *string    `db:"paused_text" json:"app_paused_text"`
	// AppQuarantineStoppedAt is nil while receipts of the app may be quarantined.
	AppQuarantineStoppedAt *time.Time `db:"quarantine_stopped_at" json:"app_quarantine_stopped_at"`
}

// storedReceipts reads receipts r with their apps.
const storedReceipts = `
	SELECT r.id, r.bundle_id, r.customer_ref, r.kind, coalesce(r.environment, '') AS environment,
	       encode(r.sha256, 'hex') AS sha256, r.byte_size, r.state, r.created_at, r.next_check_at, r.next_check_rule,
	       r.last_checked_at, r.last_code, r.last_error, r.consecutive_failures, r.failures_alike, r.alike_days,
	       r.accepted_at, r.quarantined_at, r.covered_by, r.claimed_until, r.run_id, a.paused_at, a.paused_code, a.paused_text,
	       CASE WHEN a.quarantine_resumed_at IS NULL THEN a.quarantine_stopped_at END AS quarantine_stopped_at
	FROM receipts r JOIN apps a USING (bundle_id)
`

// ReceiptQuery chooses a page of receipts in the order of their ids. Every zero
// field but Limit chooses nothing by itself.
type ReceiptQuery struct {
	BundleID string
	// CustomerRef is a pointer because an empty reference is one as well.
	CustomerRef *string
	State       iap.ReceiptState
	// IDs are the ids to choose from.
	IDs []int64
	// After is the last id of the page before.
	After int64
	Limit int
}

// StoredReceipts is a page of receipts, without their bytes.
func (db *DB) StoredReceipts(ctx context.Context, q ReceiptQuery) ([]StoredReceipt, error) {
	const query = storedReceipts + `
		WHERE r.id > $1 AND ($2 = '' OR r.bundle_id = $2) AND ($3::text IS NULL OR r.customer_ref = $3)
		  AND ($4 = '' OR r.state = $4) AND ($5::bigint[] IS NULL OR r.id = ANY($5))
		ORDER BY r.id LIMIT $6`
	var receipts []StoredReceipt
	err := db.db.SelectContext(ctx, &receipts, query, q.After, q.BundleID, q.CustomerRef, q.State, pq.Array(q.IDs), q.Limit)
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
		return StoredReceipt{}, fmt.Errorf("look up receipt %d: %w", id, named(err))
	}
	return r, nil
}

// Recheck makes receipts due now, and returns which, ordered by id. What can never
// be asked about stays as it is, and so does what a worker has in hand: its
// result would say anew when the next look is.
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
