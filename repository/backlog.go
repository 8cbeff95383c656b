package repository

import (
	"context"
	"fmt"
	"time"
)

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
	// Secret is when the newest secret was added of the app whose newest is the
	// oldest, nil where no app has one. Refused and retired ones do not count.
	Secret *time.Time `db:"secret"`
}

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
			(SELECT min(newest) FROM (
				SELECT max(s.created_at) AS newest
				FROM apps a JOIN shared_secrets s ON s.bundle_id = a.bundle_id OR s.bundle_id IS NULL
				WHERE s.state IN ('new', 'accepted') GROUP BY a.bundle_id) n) AS secret`
	var b Backlog
	if err := db.db.GetContext(ctx, &b, query, now, limit); err != nil {
		return Backlog{}, fmt.Errorf("look at the backlog: %w", err)
	}
	return b, nil
}
