package repository

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/runs"
)

// LeadMaintenance makes owner the one process that deletes old rows, until its lease
// ends; led is false while another one is. Who leads renews the lease by asking again.
func (db *DB) LeadMaintenance(ctx context.Context, owner runs.Lease, now time.Time) (led bool, err error) {
	const query = `
		INSERT INTO maintenance AS m (owner, owner_until) VALUES ($1, $2)
		ON CONFLICT (only_row) DO UPDATE SET owner = excluded.owner, owner_until = excluded.owner_until
		WHERE m.owner = excluded.owner OR m.owner_until < $3`
	return db.changed(ctx, "lead the maintenance", query, owner.Owner, owner.Until, now)
}

// PruneTime is the time from which the age of rows counts: the lesser of the clock and
// of the newest time of Apple's in a reply that was believed, so that a clock that is
// ahead deletes nothing. known is false while the time of any of Apple's endpoints
// differs from the clock, and before there is any reply: then nothing is to be deleted.
func (db *DB) PruneTime(ctx context.Context, now time.Time) (at time.Time, known bool, err error) {
	const query = `SELECT (SELECT max(newest_reply) FROM run_apps) AS newest, EXISTS (SELECT FROM endpoint_clocks) AS doubt`
	var row struct {
		Newest *time.Time `db:"newest"`
		Doubt  bool       `db:"doubt"`
	}
	switch err := db.db.GetContext(ctx, &row, query); {
	case err != nil:
		return time.Time{}, false, fmt.Errorf("find the time from which rows are old: %w", err)
	case row.Newest == nil || row.Doubt:
		return time.Time{}, false, nil
	case row.Newest.Before(now):
		return *row.Newest, true, nil
	}
	return now, true, nil
}

// prunings delete up to $2 rows of a table that are older than $1. They look at no
// more than they delete, or at the runs. What hangs on a run that goes on, or that can
// be resumed, is never old; a run goes when its items have gone, and what it holds
// with the workers.
var prunings = map[string]string{
	"run_items": `
		DELETE FROM run_items WHERE ctid = ANY(ARRAY(
			SELECT i.ctid FROM runs r JOIN run_items i ON i.run_id = r.id
			WHERE r.state NOT IN ('running', 'interrupted') AND r.finished_at < $1 LIMIT $2))`,
	"run_failures": `
		DELETE FROM run_failures WHERE ctid = ANY(ARRAY(
			SELECT f.ctid FROM runs r JOIN run_failures f ON f.run_id = r.id
			WHERE r.state NOT IN ('running', 'interrupted') AND r.finished_at < $1 LIMIT $2))`,
	"runs": `
		DELETE FROM runs WHERE id = ANY(ARRAY(
			SELECT id FROM runs r
			WHERE state NOT IN ('running', 'interrupted') AND finished_at < $1
			  AND NOT EXISTS (SELECT FROM run_items WHERE run_id = r.id)
			  AND NOT EXISTS (SELECT FROM receipts WHERE run_id = r.id AND claimed_until IS NOT NULL)
			ORDER BY id LIMIT least($2, 10)))`,
	"subscription_events": `
		DELETE FROM subscription_events WHERE id = ANY(ARRAY(
			SELECT id FROM (SELECT id, recorded_at FROM subscription_events ORDER BY id LIMIT $2) oldest WHERE recorded_at < $1))`,
}

// Prune deletes rows of a table that are older than a time, up to limit of them, and
// of runs, each of which has rows of its own, up to 10. It returns how many rows of
// the table it deleted: none where none are old.
func (db *DB) Prune(ctx context.Context, table string, before time.Time, limit int) (deleted int64, err error) {
	query, known := prunings[table]
	if !known {
		return 0, fmt.Errorf("delete old rows of %s: not a table whose rows become old", table)
	}
	result, err := db.db.ExecContext(ctx, query, before, limit)
	if err != nil {
		return 0, fmt.Errorf("delete old rows of %s: %w", table, err)
	}
	return result.RowsAffected()
}

// AbandonedBackfills lists backfills that were interrupted before a time, and that
// nobody has resumed.
func (db *DB) AbandonedBackfills(ctx context.Context, before time.Time) ([]int64, error) {
	const query = `SELECT id FROM runs WHERE state = 'interrupted' AND finished_at < $1 ORDER BY id`
	var ids []int64
	if err := db.db.SelectContext(ctx, &ids, query, before); err != nil {
		return nil, fmt.Errorf("list abandoned backfills: %w", err)
	}
	return ids, nil
}
