package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// claimHeld is a receipt r whose claim has not ended. It is written so that Postgres
// cannot take the index of claims for it: between two ANALYZEs that index looks
// empty, and so cheaper than the primary key, and each look at one receipt would
// go through all claims there are.
const claimHeld = `coalesce(r.claimed_until, '-infinity') > '-infinity'`

// inlineBytes is up to which size the bytes of a receipt are read with its row.
const inlineBytes = 16 << 10

// ClaimedReceipts are the receipts of claims with their apps, in one round of
// reading. Claims that are not held any more are missing from the result.
func (db *DB) ClaimedReceipts(ctx context.Context, claims []claim.Key) (map[claim.Key]claim.Receipt, error) {
	const query = `
		SELECT r.id, r.generation, coalesce(r.run_id, 0) AS run_id, r.byte_size, r.created_at AS imported_at,
		       EXISTS (SELECT 1 FROM runs WHERE id = r.run_id AND state = 'cancelled') AS run_cancelled,
		       r.state, coalesce(r.environment, '') AS environment, r.consecutive_failures,
		       coalesce(r.last_error, '') AS last_failure, r.failures_alike, r.alike_days,
		       r.last_checked_at, r.accepted_at, r.stale_replies, r.next_check_rule,
		       r.covered_by IS NOT NULL AND r.next_check_rule = 'covered' AS covered,
		       CASE WHEN r.byte_size <= $3 THEN d.data END AS data,
		       ` + appColumns + `
		FROM unnest($1::bigint[], $2::bigint[]) AS c(id, generation)
		JOIN receipts r ON r.id = c.id AND r.generation = c.generation
		JOIN apps USING (bundle_id)
		LEFT JOIN receipt_data d ON d.receipt_id = r.id
		WHERE ` + claimHeld
	ids, generations := make([]int64, len(claims)), make([]int64, len(claims))
	for i, c := range claims {
		ids[i], generations[i] = c.ReceiptID, c.Generation
	}
	var rows []claimedRow
	err := db.inBinary(ctx, func(tx *sqlx.Tx) error {
		rows = nil
		if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids), pq.Array(generations), inlineBytes); err != nil {
			return err
		}
		return letRest(ctx, tx, rows)
	})
	if err != nil {
		return nil, fmt.Errorf("load %d receipts: %w", len(claims), err)
	}
	receipts := make(map[claim.Key]claim.Receipt, len(rows))
	for _, row := range rows {
		receipts[claim.Key{ReceiptID: row.ID, Generation: row.Generation}] = row.receipt()
	}
	return receipts, nil
}

// letRest says which covered receipts rest again: those that are due by that rule
// alone, not for a backfill, and all of whose subscriptions and purchases were checked
// since the next check of the one that covers them.
func letRest(ctx context.Context, tx *sqlx.Tx, rows []claimedRow) error {
	const query = `
		SELECT r.id FROM receipts r
		WHERE r.id = ANY($1)
		  AND NOT EXISTS (SELECT 1 FROM runs WHERE id = r.run_id AND kind = 'backfill')
		  AND NOT EXISTS (
			SELECT 1 FROM receipt_subscriptions l JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
			WHERE l.receipt_id = r.id AND s.as_of < r.next_check_at - make_interval(secs => $2))
		  AND r.shows <= (SELECT count(*) FROM receipt_subscriptions WHERE receipt_id = r.id) + (
			SELECT count(*) FROM purchases p WHERE p.receipt_id = r.covered_by AND r.id = ANY(p.shown_by)
			  AND p.as_of >= r.next_check_at - make_interval(secs => $2))`
	covered := make(map[int64]*claimedRow)
	for i, row := range rows {
		if row.Covered {
			covered[row.ID] = &rows[i]
		}
	}
	if len(covered) == 0 {
		return nil
	}
	var ids []int64
	if err := tx.SelectContext(ctx, &ids, query, pq.Array(keysOf(covered)), iap.CoveredAfter.Seconds()); err != nil {
		return fmt.Errorf("find covered receipts that rest again: %w", err)
	}
	for _, id := range ids {
		covered[id].Rests = true
	}
	return nil
}

type claimedRow struct {
	ID                  int64            `db:"id"`
	Generation          int64            `db:"generation"`
	RunID               int64            `db:"run_id"`
	RunCancelled        bool             `db:"run_cancelled"`
	ByteSize            int64            `db:"byte_size"`
	ImportedAt          time.Time        `db:"imported_at"`
	Data                []byte           `db:"data"`
	State               iap.ReceiptState `db:"state"`
	Environment         iap.Environment  `db:"environment"`
	ConsecutiveFailures int              `db:"consecutive_failures"`
	LastFailure         string           `db:"last_failure"`
	FailuresAlike       int              `db:"failures_alike"`
	AlikeDays           int              `db:"alike_days"`
	LastCheckedAt       *time.Time       `db:"last_checked_at"`
	AcceptedAt          *time.Time       `db:"accepted_at"`
	StaleReplies        int              `db:"stale_replies"`
	Covered             bool             `db:"covered"`
	Rests               bool             `db:"-"`
	Rule                iap.Rule         `db:"next_check_rule"`
	apps.App
}

func (row claimedRow) receipt() claim.Receipt {
	return claim.Receipt{
		ID: row.ID, Generation: row.Generation, RunID: row.RunID, RunCancelled: row.RunCancelled, ByteSize: row.ByteSize,
		ImportedAt: row.ImportedAt, Data: row.Data, State: row.State, Environment: row.Environment, ConsecutiveFailures: row.ConsecutiveFailures,
		LastFailure: row.LastFailure, FailuresAlike: row.FailuresAlike, AlikeDays: row.AlikeDays,
		LastCheckedAt: timeOrZero(row.LastCheckedAt), AcceptedAt: timeOrZero(row.AcceptedAt),
		StaleReplies: row.StaleReplies, Rests: row.Rests, Rule: row.Rule, App: row.App,
	}
}

// timeOrZero is a time that may be NULL.
func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
