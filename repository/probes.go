package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// ClaimProbe gives one caller an app that stands still for want of a secret and
// has one to try, or ErrNotFound: at once after a secret was added, again after
// retry where Apple has said nothing about one, and after recheck even where
// all were refused, since a refusal may have been Apple's own trouble.
func (db *DB) ClaimProbe(ctx context.Context, now time.Time, retry, recheck time.Duration) (apps.App, error) {
	// The time of the probe is at least that of the newest secret: the clock of
	// the machine where it was added may be ahead of this one's.
	const query = `
		WITH stuck AS (
			SELECT a.bundle_id, s.newest
			FROM apps a, LATERAL (
				SELECT max(created_at) AS newest, bool_or(state = 'new') AS untried FROM shared_secrets
				WHERE (bundle_id = a.bundle_id OR bundle_id IS NULL) AND state <> 'retired'
			) s, LATERAL (SELECT greatest(a.paused_at, a.secret_probed_at) AS at) probed
			WHERE a.paused_code = ANY($2)
			  AND (s.newest > probed.at OR (s.untried AND probed.at <= $3) OR (s.newest IS NOT NULL AND probed.at <= $4))
			ORDER BY probed.at, a.bundle_id LIMIT 1
			FOR UPDATE OF a SKIP LOCKED
		)
		UPDATE apps SET secret_probed_at = greatest($1, stuck.newest)
		FROM stuck WHERE apps.bundle_id = stuck.bundle_id
		RETURNING ` + appColumns
	var app apps.App
	if err := db.db.GetContext(ctx, &app, query, now, wantOfSecret(), now.Add(-retry), now.Add(-recheck)); err != nil {
		return app, fmt.Errorf("find apps to probe: %w", named(err))
	}
	return app, nil
}

// wantOfSecret are the reasons of a pause that a good secret takes back.
func wantOfSecret() any {
	return pq.Array([]string{apps.PausedNoSecret, apps.PausedSecretRefused})
}

// ResumeForSecret puts an app back to work that stands still for want of a
// secret that Apple accepts; changed is false where it does not.
func (db *DB) ResumeForSecret(ctx context.Context, bundleID string) (changed bool, err error) {
	const query = `
		UPDATE apps SET paused_at = NULL, paused_code = NULL, paused_text = NULL, secret_probed_at = NULL
		WHERE bundle_id = $1 AND paused_code = ANY($2)`
	return db.changed(ctx, fmt.Sprintf("resume app %s", bundleID), query, bundleID, wantOfSecret())
}

// ProbeReceipts lists a few receipts of an app to try a secret with, and never
// a large one: first such that show a subscription, because Apple looks at the
// secret for those; else what is due next.
func (db *DB) ProbeReceipts(ctx context.Context, bundleID string) ([]claim.Receipt, error) {
	const query = `
		(SELECT r.id, r.byte_size, coalesce(r.environment, '') AS environment, 0 AS rank
		 FROM (SELECT original_transaction_id, environment FROM subscriptions WHERE bundle_id = $1 LIMIT 20) s
		 JOIN receipt_subscriptions rs ON rs.original_transaction_id = s.original_transaction_id
		  AND rs.bundle_id = $1 AND rs.environment = s.environment
		 JOIN receipts r ON r.id = rs.receipt_id
		 WHERE r.state = 'valid' AND r.kind = 'app_receipt' AND r.byte_size < $2
		 LIMIT 3)
		UNION
		(SELECT id, byte_size, coalesce(environment, ''), 1
		 FROM receipts
		 WHERE bundle_id = $1 AND claimed_until IS NULL AND next_check_at IS NOT NULL AND byte_size < $2
		 ORDER BY next_check_at, id LIMIT 3)
		ORDER BY rank, byte_size, id LIMIT 3`
	const small = 256 << 10
	var rows []struct {
		ID          int64           `db:"id"`
		ByteSize    int64           `db:"byte_size"`
		Environment iap.Environment `db:"environment"`
		Rank        int             `db:"rank"`
	}
	if err := db.db.SelectContext(ctx, &rows, query, bundleID, small); err != nil {
		return nil, fmt.Errorf("choose receipts of %s to try a secret with: %w", bundleID, err)
	}
	receipts := make([]claim.Receipt, len(rows))
	for i, r := range rows {
		receipts[i] = claim.Receipt{ID: r.ID, ByteSize: r.ByteSize, Environment: r.Environment}
	}
	return receipts, nil
}
