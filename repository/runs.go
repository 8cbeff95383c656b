package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/runs"
)

// OpenRun opens a run, whose receipts are counted after: see CountRun. What was due
// at the cutoff of a run that is fed belongs to that one. Its error is ErrConflict
// where there is a nightly run for the slot: that is how one of several schedulers
// is chosen.
func (db *DB) OpenRun(ctx context.Context, run runs.Run, owner runs.Lease, now time.Time) (runs.Run, error) {
	return db.openRun(ctx, run, owner, now, false)
}

// OpenAlone is OpenRun unless a nightly or manual run is open: then its error is
// ErrConflict.
func (db *DB) OpenAlone(ctx context.Context, run runs.Run, owner runs.Lease, now time.Time) (runs.Run, error) {
	return db.openRun(ctx, run, owner, now, true)
}

func (db *DB) openRun(ctx context.Context, run runs.Run, owner runs.Lease, now time.Time, alone bool) (runs.Run, error) {
	// Two that are opened at once must see each other.
	const lock = `SELECT pg_advisory_xact_lock($1)`
	const open = `
		INSERT INTO runs (kind, scheduled_for, cutoff, deadline, started_by, started_at, owner, owner_until, due_after)
		SELECT $1, $2, $3, $4, $5, $6::timestamptz, $7, $8::timestamptz, (
			SELECT max(cutoff) FROM runs WHERE state = 'running' AND kind <> 'backfill' AND owner_until >= $6)
		WHERE NOT ($9 AND EXISTS (SELECT FROM runs WHERE state = 'running' AND kind <> 'backfill'))
		ON CONFLICT (scheduled_for) WHERE kind = 'nightly' DO NOTHING
		RETURNING id, due_after`
	run.Share = 1
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, lock, openLock); err != nil {
			return err
		}
		err := named(tx.GetContext(ctx, &run, open,
			run.Kind, run.ScheduledFor, run.Cutoff, run.Deadline, run.StartedBy, now, owner.Owner, owner.Until, alone))
		if err == database.ErrNotFound {
			return database.ErrConflict
		}
		return err
	})
	if err != nil {
		return runs.Run{}, fmt.Errorf("open %s run for %s: %w", run.Kind, run.ScheduledFor.Format(time.RFC3339), err)
	}
	return run, nil
}

// openLock is the advisory lock under which runs are opened.
const openLock = eventLock + 1

const runColumns = `id, kind, scheduled_for, due_after, cutoff, deadline, share, started_by`

// FedRun is the newest nightly or manual run that a process feeds, or ErrNotFound.
func (db *DB) FedRun(ctx context.Context, now time.Time) (runs.Run, error) {
	const query = `
		SELECT ` + runColumns + ` FROM runs
		WHERE state = 'running' AND kind <> 'backfill' AND owner_until >= $1 ORDER BY id DESC LIMIT 1`
	var run runs.Run
	if err := db.db.GetContext(ctx, &run, query, now); err != nil {
		return runs.Run{}, fmt.Errorf("find a run that is fed: %w", named(err))
	}
	return run, nil
}

// TakeOverRun makes owner the owner of a running run, of one of some kinds or of any,
// whose owner's lease has ended. Its error is ErrNotFound where there is none.
func (db *DB) TakeOverRun(ctx context.Context, owner runs.Lease, now time.Time, kinds ...runs.Kind) (runs.Run, error) {
	const query = `
		UPDATE runs SET owner = $1, owner_until = $2
		WHERE id = (SELECT id FROM runs WHERE state = 'running' AND owner_until < $3 AND ($4::text[] IS NULL OR kind = ANY($4))
		            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING ` + runColumns
	var run runs.Run
	if err := db.db.GetContext(ctx, &run, query, owner.Owner, owner.Until, now, textArray(kinds)); err != nil {
		return runs.Run{}, fmt.Errorf("take over a run: %w", named(err))
	}
	return run, nil
}

// KeepRun extends the owner's lease; kept is false where the run has ended or
// somebody else owns it.
func (db *DB) KeepRun(ctx context.Context, id int64, owner runs.Lease) (kept bool, err error) {
	const query = `UPDATE runs SET owner_until = $3 WHERE id = $1 AND owner = $2 AND state = 'running'`
	return db.changed(ctx, fmt.Sprintf("keep run %d", id), query, id, owner.Owner, owner.Until)
}

// EndRun ends a run that is running; changed is false where it has ended already.
// What is in it and with no worker is released: it is free for the next run.
func (db *DB) EndRun(ctx context.Context, id int64, state runs.State, now time.Time) (changed bool, err error) {
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		changed, err = endRun(ctx, tx, id, state, now, runs.Running)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("end run %d: %w", id, err)
	}
	return changed, nil
}

// endRun ends a run that is in one of some states. The row of the run comes first:
// who claims for it, or leaves a receipt in it, shares its lock, so that nobody does
// so any more. Then its figures: while they are locked no result is stored of it, so
// that the claims that are read are those that will still be counted.
func endRun(ctx context.Context, tx *sqlx.Tx, id int64, state runs.State, now time.Time, from ...runs.State) (changed bool, err error) {
	const end = `
		UPDATE runs SET state = $2, finished_at = $3,
			counted_at = CASE WHEN $2 = 'interrupted' THEN counted_at ELSE coalesce(counted_at, $3) END
		WHERE id = $1 AND state = ANY($4)`
	const lock = `SELECT FROM run_apps WHERE run_id = $1 ORDER BY bundle_id FOR NO KEY UPDATE`
	const release = `
		WITH working AS (
			SELECT bundle_id, count(*) AS n FROM receipts WHERE run_id = $1 AND claimed_until IS NOT NULL GROUP BY bundle_id
		)
		UPDATE run_apps t SET due = o.due, released = o.due - t.succeeded - t.failed - o.working
		FROM (
			SELECT bundle_id, greatest(due, claimed) AS due, coalesce(w.n, 0) AS working
			FROM run_apps LEFT JOIN working w USING (bundle_id) WHERE run_id = $1
		) o
		WHERE t.run_id = $1 AND t.bundle_id = o.bundle_id`
	changed, err = changedIn(ctx, tx, "end it", end, id, state, now, textArray(from))
	if err != nil || !changed {
		return changed, err
	}
	if _, err := tx.ExecContext(ctx, lock, id); err != nil {
		return true, err
	}
	if state == runs.Interrupted { // its receipts stay in it
		return true, nil
	}
	_, err = tx.ExecContext(ctx, release, id)
	return true, err
}

// live are the runs among some that receipts may stay in, with their rows locked
// against an end.
func live(ctx context.Context, tx *sqlx.Tx, ids []int64) (map[int64]bool, error) {
	const query = `SELECT id FROM runs WHERE id = ANY($1) AND state IN ('running', 'interrupted') ORDER BY id FOR SHARE`
	found := make(map[int64]bool)
	if len(ids) == 0 {
		return found, nil
	}
	var rows []int64
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return nil, fmt.Errorf("find running runs: %w", err)
	}
	for _, id := range rows {
		found[id] = true
	}
	return found, nil
}

// mayGoOn is an app a that is at work, or paused for one of the reasons $4.
const mayGoOn = `(a.paused_at IS NULL OR a.paused_code = ANY($4::text[]))`

// HasWork reports whether anything that belongs to a run is due, waiting or with
// the workers at a time. Paused apps are left out: their receipts stay due for
// a later run. But a nightly run has the whole night, and stays open for an app
// that the program itself paused for want of a secret: it goes on within seconds
// of a good one. It looks for one row of each and counts none, in the order of an
// index: without, Postgres expects a row of many at once, and reads the whole table
// where they were claimed meanwhile.
func (db *DB) HasWork(ctx context.Context, run runs.Run, now time.Time) (bool, error) {
	const query = `
		SELECT
			EXISTS (SELECT 1 FROM receipts WHERE run_id = $1 AND claimed_until IS NOT NULL)
			OR coalesce((SELECT true FROM receipts r JOIN apps a USING (bundle_id)
			             WHERE r.run_id = $1 AND r.claimed_until IS NULL AND r.next_check_at IS NOT NULL
			               AND ` + mayGoOn + `
			             ORDER BY r.next_check_at LIMIT 1), false)
			OR EXISTS (SELECT 1 FROM apps a, LATERAL (
			               SELECT 1 FROM receipts r
			               WHERE bundle_id = a.bundle_id AND claimed_until IS NULL
			                 AND next_check_at > coalesce($5::timestamptz, '-infinity') AND next_check_at <= $2 AND ` + free + `
			               ORDER BY next_check_at LIMIT 1) d
			           WHERE ` + mayGoOn + `)`
	var left bool
	var forgiven any
	if run.Kind == runs.Nightly {
		forgiven = pq.Array([]string{apps.PausedNoSecret, apps.PausedSecretRefused})
	}
	if err := db.db.GetContext(ctx, &left, query, run.ID, run.Cutoff, now, forgiven, run.DueAfter); err != nil {
		return false, fmt.Errorf("find work of run %d: %w", run.ID, err)
	}
	return left, nil
}

const runTotalsColumns = runColumns + `, filter, owner, owner_until, state, started_at, finished_at,
	due, in_run, succeeded, failed, done, released, enqueued, changed, quarantined, calls`

// RunTotals is a run with its figures, or ErrNotFound.
func (db *DB) RunTotals(ctx context.Context, id int64) (runs.Totals, error) {
	const query = `SELECT ` + runTotalsColumns + ` FROM run_totals WHERE id = $1`
	var t runs.Totals
	if err := db.db.GetContext(ctx, &t, query, id); err != nil {
		return runs.Totals{}, fmt.Errorf("read run %d: %w", id, named(err))
	}
	return t, nil
}

// LastRuns lists the newest runs first.
func (db *DB) LastRuns(ctx context.Context, limit int) ([]runs.Totals, error) {
	const query = `SELECT ` + runTotalsColumns + ` FROM run_totals ORDER BY id DESC LIMIT $1`
	var runs []runs.Totals
	if err := db.db.SelectContext(ctx, &runs, query, limit); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// RunFailures counts the failures of a run by class, the commonest first.
func (db *DB) RunFailures(ctx context.Context, id int64) ([]FailureCount, error) {
	const query = `
		SELECT class, sum(answers)::bigint AS answers FROM run_failures
		WHERE run_id = $1 GROUP BY class ORDER BY answers DESC, class`
	var counts []FailureCount
	if err := db.db.SelectContext(ctx, &counts, query, id); err != nil {
		return nil, fmt.Errorf("count failures of run %d: %w", id, err)
	}
	return counts, nil
}

// RunEvents counts the events of a run by type, the commonest first.
func (db *DB) RunEvents(ctx context.Context, id int64) ([]EventCount, error) {
	const query = `
		SELECT type, count(*) AS count FROM subscription_events
		WHERE run_id = $1 GROUP BY type ORDER BY count DESC, type`
	var counts []EventCount
	if err := db.db.SelectContext(ctx, &counts, query, id); err != nil {
		return nil, fmt.Errorf("count events of run %d: %w", id, err)
	}
	return counts, nil
}
