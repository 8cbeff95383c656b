package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
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
func (db *DB) ClaimedReceipts(ctx context.Context, claims []ledger.ClaimKey) (map[ledger.ClaimKey]ledger.Receipt, error) {
	const query = `
		SELECT r.id, r.generation, coalesce(r.run_id, 0) AS run_id, r.byte_size, r.created_at AS imported_at,
		       EXISTS (SELECT 1 FROM runs WHERE id = r.run_id AND state = 'cancelled') AS run_cancelled,
		       r.state, coalesce(r.environment, '') AS environment, r.consecutive_failures,
		       coalesce(r.last_error, '') AS last_failure, r.failures_alike, r.stale_replies,
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
		return tx.SelectContext(ctx, &rows, query, pq.Array(ids), pq.Array(generations), inlineBytes)
	})
	if err != nil {
		return nil, fmt.Errorf("load %d receipts: %w", len(claims), err)
	}
	receipts := make(map[ledger.ClaimKey]ledger.Receipt, len(rows))
	for _, row := range rows {
		receipts[ledger.ClaimKey{ReceiptID: row.ID, Generation: row.Generation}] = row.receipt()
	}
	return receipts, nil
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
	StaleReplies        int              `db:"stale_replies"`
	ledger.App
}

func (row claimedRow) receipt() ledger.Receipt {
	return ledger.Receipt{
		ID: row.ID, Generation: row.Generation, RunID: row.RunID, RunCancelled: row.RunCancelled, ByteSize: row.ByteSize,
		ImportedAt: row.ImportedAt, Data: row.Data, State: row.State, Environment: row.Environment, ConsecutiveFailures: row.ConsecutiveFailures,
		LastFailure: row.LastFailure, FailuresAlike: row.FailuresAlike, StaleReplies: row.StaleReplies, App: row.App,
	}
}
