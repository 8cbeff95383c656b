package repository

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/iap"
)

// Backlog looks at how much work there is at a time. It counts no more than
// limit due receipts, so that it stays cheap however many there are.
func (db *DB) Backlog(ctx context.Context, now time.Time, limit int) (Backlog, error) {
	const query = `
		SELECT
			(SELECT count(*) FROM (
				SELECT 1 FROM apps a, LATERAL (
					SELECT 1 FROM receipts
					WHERE bundle_id = a.bundle_id AND claimed_until IS NULL AND next_check_at <= $1
					LIMIT $2) d
				WHERE a.paused_at IS NULL LIMIT $2) counted) AS due,
			(SELECT min(d.next_check_at) FROM apps a, LATERAL (
				SELECT next_check_at FROM receipts
				WHERE bundle_id = a.bundle_id AND claimed_until IS NULL AND next_check_at <= $1
				ORDER BY next_check_at LIMIT 1) d
			 WHERE a.paused_at IS NULL) AS oldest,
			(SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL) AS claimed,
			(SELECT count(*) FROM apps WHERE paused_at IS NOT NULL) AS paused_apps,
			(SELECT count(*) FROM apps WHERE quarantine_stopped_at IS NOT NULL AND quarantine_resumed_at IS NULL) AS stopped_apps,
			(SELECT count(*) FROM (` + unscheduled + `) s) AS unscheduled,
			(SELECT min(newest) FROM (
				SELECT max(s.created_at) AS newest
				FROM apps a JOIN shared_secrets s ON s.bundle_id = a.bundle_id OR s.bundle_id IS NULL
				WHERE s.state IN ('new', 'accepted') GROUP BY a.bundle_id) n) AS secret`
	var b Backlog
	if err := db.db.GetContext(ctx, &b, query, now, limit); err != nil {
		return Backlog{}, fmt.Errorf("read the backlog: %w", err)
	}
	var err error
	b.WrongClocks, err = db.WrongClocks(ctx)
	return b, err
}

// unscheduled are live subscriptions that are past their expiry at $1 and that no
// receipt is to be checked for, so that nothing would ever end them. Of each status
// it reads the ones that expired first only, among which those that stay so come to
// be, and so costs the same however many are past their expiry in the night.
const unscheduled = `
	SELECT s.bundle_id, s.environment, s.original_transaction_id
	FROM unnest(ARRAY['active', 'billing_grace_period', 'billing_retry']) AS live(status) CROSS JOIN LATERAL (
		SELECT bundle_id, environment, original_transaction_id FROM subscriptions
		WHERE status = live.status AND status IN ('active', 'billing_grace_period', 'billing_retry') AND expires_date < $1
		ORDER BY expires_date LIMIT 5000) s
	WHERE NOT EXISTS (
		SELECT 1 FROM receipt_subscriptions l JOIN receipts r ON r.id = l.receipt_id
		WHERE l.original_transaction_id = s.original_transaction_id AND l.bundle_id = s.bundle_id AND l.environment = s.environment
		  AND (r.next_check_at IS NOT NULL OR r.claimed_until IS NOT NULL))`

// UnscheduledSubscriptions lists live subscriptions that are past their expiry and
// that no receipt is to be checked for, of the 5,000 of each status that expired first; at most
// limit. There should never be one.
func (db *DB) UnscheduledSubscriptions(ctx context.Context, now time.Time, limit int) ([]iap.SubscriptionKey, error) {
	const query = unscheduled + ` LIMIT $2`
	var rows []struct {
		BundleID              string          `db:"bundle_id"`
		Environment           iap.Environment `db:"environment"`
		OriginalTransactionID string          `db:"original_transaction_id"`
	}
	if err := db.db.SelectContext(ctx, &rows, query, now, limit); err != nil {
		return nil, fmt.Errorf("list unscheduled subscriptions: %w", err)
	}
	keys := make([]iap.SubscriptionKey, len(rows))
	for i, r := range rows {
		keys[i] = iap.SubscriptionKey{BundleID: r.BundleID, Environment: r.Environment, OriginalTransactionID: r.OriginalTransactionID}
	}
	return keys, nil
}

// Backlog is how much work there is, over all apps.
type Backlog struct {
	// Due is how many receipts of apps at work are due and with nobody, counted
	// up to a limit; Oldest is since when the first of them is, nil where there
	// is none.
	Due    int64      `db:"due"`
	Oldest *time.Time `db:"oldest"`
	// Claimed is how many receipts are with the workers.
	Claimed int64 `db:"claimed"`
	// PausedApps is how many apps stand still.
	PausedApps int64 `db:"paused_apps"`
	// StoppedApps is how many apps have their quarantining stopped.
	StoppedApps int64 `db:"stopped_apps"`
	// Unscheduled is that of UnscheduledSubscriptions.
	Unscheduled int64 `db:"unscheduled"`
	// Secret is when the newest secret was added of the app whose newest is the
	// oldest, nil where no app has one. Refused and retired ones do not count.
	Secret *time.Time `db:"secret"`
	// WrongClocks are the endpoints whose checks are held because the clock is
	// wrong.
	WrongClocks []clock.Endpoint `db:"-"`
}
