package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/claim"
	"revalidator/internal/runs"
)

// CountRun counts what is due for a run, app by app, while the run goes on: claims
// and results do not wait for it. It costs one statement for each app, the longest
// of which goes through what is due of one app. A second call counts again. Its error
// is runs.ErrLost where the run has ended.
func (db *DB) CountRun(ctx context.Context, run runs.Run, now time.Time) error {
	const apps = `SELECT bundle_id FROM apps ORDER BY bundle_id`
	// Before they are counted. A clock can be corrected without anybody noticing.
	err := db.inTx(ctx, func(tx *sqlx.Tx) error { return correctChecks(ctx, tx, run.Cutoff) })
	if err != nil {
		return fmt.Errorf("count run %d: %w", run.ID, err)
	}
	var bundleIDs []string
	if err := db.db.SelectContext(ctx, &bundleIDs, apps); err != nil {
		return fmt.Errorf("count run %d: %w", run.ID, err)
	}
	for _, bundleID := range bundleIDs {
		if err := db.countApp(ctx, run, bundleID, now); err != nil {
			return fmt.Errorf("count run %d: app %s: %w", run.ID, bundleID, err)
		}
	}
	return db.counted(ctx, run.ID, now)
}

// CountMark is in the statements that count what is due, which go through all of it,
// for those who look at what Postgres does.
const CountMark = "/* counts what is due */"

// countApp counts an app's part of a run: what was claimed for it so far, and what
// is due and not claimed. A claim makes one as much more as the other less, and the
// statement sees both at the same moment, so that it does not matter when that is.
// What another run keeps is found by an index of its own: the first count reads
// nothing but the index of what is due.
func (db *DB) countApp(ctx context.Context, run runs.Run, bundleID string, now time.Time) error {
	const due = `r.bundle_id = $5 AND r.claimed_until IS NULL AND r.next_check_at > coalesce($4::timestamptz, '-infinity') AND r.next_check_at <= $2`
	const query = CountMark + `
		SELECT (SELECT count(*) FROM receipts r WHERE ` + due + `)
		     - (SELECT count(*) FROM receipts r WHERE r.run_id IS NOT NULL AND ` + due + ` AND (r.run_id = $1 OR NOT ` + free + `))
		     + coalesce((SELECT claimed FROM run_apps WHERE run_id = $1 AND bundle_id = $5), 0)`
	const note = `
		INSERT INTO run_apps AS t (run_id, bundle_id, due) VALUES ($1, $2, $3)
		ON CONFLICT (run_id, bundle_id) DO UPDATE SET due = greatest(excluded.due, t.claimed)`
	var n int64
	if err := db.db.GetContext(ctx, &n, query, run.ID, run.Cutoff, now, run.DueAfter, bundleID); err != nil || n == 0 {
		return err
	}
	return db.inTx(ctx, func(tx *sqlx.Tx) error {
		// Not before: whoever counts would hold up the end of the run, and its lease.
		if err := feeds(ctx, tx, claim.Request{RunID: run.ID}); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, note, run.ID, bundleID, n)
		return err
	})
}

// counted notes that all of a run is counted. What was claimed meanwhile of an app
// that had nothing due is counted as well.
func (db *DB) counted(ctx context.Context, id int64, now time.Time) error {
	const note = `UPDATE runs SET counted_at = $2 WHERE id = $1 AND counted_at IS NULL`
	const rest = `UPDATE run_apps SET due = claimed WHERE run_id = $1 AND due IS NULL`
	return db.inTx(ctx, func(tx *sqlx.Tx) error {
		changed, err := changedIn(ctx, tx, fmt.Sprintf("note that run %d is counted", id), note, id, now)
		if err != nil || !changed {
			return err
		}
		_, err = tx.ExecContext(ctx, rest, id)
		return err
	})
}

// left is how many receipts of an app left a run unchecked.
type left struct {
	RunID    int64  `db:"run_id"`
	BundleID string `db:"bundle_id"`
	N        int64  `db:"n"`
}

// countReleased counts receipts that left their runs unchecked. Rows of several runs
// are locked in the order in which outcomes are counted.
func countReleased(ctx context.Context, tx *sqlx.Tx, rows []left) error {
	totals := make([]appTotals, len(rows))
	for i, l := range rows {
		totals[i] = appTotals{RunID: l.RunID, BundleID: l.BundleID, Released: l.N}
	}
	return addTotals(ctx, tx, totals)
}
