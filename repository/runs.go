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

// OpenRun opens a run and counts what is due, or returns ErrConflict where a run
// of its kind and slot exists: that is how one of several schedulers is chosen.
func (db *DB) OpenRun(ctx context.Context, run ledger.Run, owner ledger.Lease, now time.Time) (ledger.Run, error) {
	const open = `
		INSERT INTO runs (kind, scheduled_for, cutoff, deadline, started_at, owner, owner_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (kind, scheduled_for) DO NOTHING
		RETURNING id`
	const count = `
		INSERT INTO run_apps (run_id, bundle_id, due)
		SELECT $1, a.bundle_id, d.due
		FROM apps a, LATERAL (
			SELECT count(*) AS due FROM receipts r
			WHERE bundle_id = a.bundle_id AND claimed_until IS NULL AND next_check_at <= $2 AND ` + free + `
		) d
		WHERE d.due > 0`
	run.Share = 1
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &run.ID, open,
			run.Kind, run.ScheduledFor, run.Cutoff, run.Deadline, now, owner.Owner, owner.Until)
		if err = named(err); err == ledger.ErrNotFound {
			return ledger.ErrConflict
		}
		if err != nil {
			return err
		}
		// Before they are counted. A clock can be corrected without anybody noticing.
		if err := correctChecks(ctx, tx, run.Cutoff); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, count, run.ID, run.Cutoff, now)
		return err
	})
	if err != nil {
		return ledger.Run{}, fmt.Errorf("open %s run for %s: %w", run.Kind, run.ScheduledFor.Format(time.RFC3339), err)
	}
	return run, nil
}

// TakeOverRun makes owner the owner of a running run whose owner's lease has
// ended. Its error is ErrNotFound where there is none.
func (db *DB) TakeOverRun(ctx context.Context, owner ledger.Lease, now time.Time) (ledger.Run, error) {
	const query = `
		UPDATE runs SET owner = $1, owner_until = $2
		WHERE id = (SELECT id FROM runs WHERE state = 'running' AND owner_until < $3
		            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING id, kind, scheduled_for, cutoff, deadline, share`
	var run ledger.Run
	if err := db.db.GetContext(ctx, &run, query, owner.Owner, owner.Until, now); err != nil {
		return ledger.Run{}, fmt.Errorf("take over a run: %w", named(err))
	}
	return run, nil
}

// KeepRun extends the owner's lease; kept is false where the run has ended or
// somebody else owns it.
func (db *DB) KeepRun(ctx context.Context, id int64, owner ledger.Lease) (kept bool, err error) {
	const query = `UPDATE runs SET owner_until = $3 WHERE id = $1 AND owner = $2 AND state = 'running'`
	return db.changed(ctx, fmt.Sprintf("keep run %d", id), query, id, owner.Owner, owner.Until)
}

// EndRun ends a run that is running. Receipts that waited for it are free for
// the next one.
func (db *DB) EndRun(ctx context.Context, id int64, state ledger.RunState, now time.Time) error {
	const query = `UPDATE runs SET state = $2, finished_at = $3 WHERE id = $1 AND state = 'running'`
	if _, err := db.db.ExecContext(ctx, query, id, state, now); err != nil {
		return fmt.Errorf("end run %d: %w", id, err)
	}
	return nil
}

// mayGoOn is an app a that is at work, or paused for one of the reasons $4.
const mayGoOn = `(a.paused_at IS NULL OR a.paused_code = ANY($4::text[]))`

// HasWork reports whether anything that belongs to a run is due, waiting or with
// the workers at a time. Paused apps are left out: their receipts stay due for
// a later run. But a nightly run has the whole night, and stays open for an app
// that the program itself paused for want of a secret: it goes on within seconds
// of a good one. It looks for one row of each and counts none.
func (db *DB) HasWork(ctx context.Context, run ledger.Run, now time.Time) (bool, error) {
	const query = `
		SELECT
			EXISTS (SELECT 1 FROM receipts WHERE run_id = $1 AND claimed_until IS NOT NULL)
			OR EXISTS (SELECT 1 FROM receipts r JOIN apps a USING (bundle_id)
			           WHERE r.run_id = $1 AND r.claimed_until IS NULL AND r.next_check_at IS NOT NULL
			             AND ` + mayGoOn + `)
			OR EXISTS (SELECT 1 FROM apps a, LATERAL (
			               SELECT 1 FROM receipts r
			               WHERE bundle_id = a.bundle_id AND claimed_until IS NULL AND next_check_at <= $2 AND ` + free + `
			               LIMIT 1) d
			           WHERE ` + mayGoOn + `)`
	var left bool
	var forgiven any
	if run.Kind == ledger.RunNightly {
		forgiven = pq.Array([]string{ledger.PausedNoSecret, ledger.PausedSecretRefused})
	}
	if err := db.db.GetContext(ctx, &left, query, run.ID, run.Cutoff, now, forgiven); err != nil {
		return false, fmt.Errorf("look for work of run %d: %w", run.ID, err)
	}
	return left, nil
}

const runTotalsColumns = `id, kind, scheduled_for, filter, share, owner_until, cutoff, deadline, state, started_at, finished_at,
	due, enqueued, done, changed, failed, quarantined, calls`

// RunTotals is a run with its figures, or ErrNotFound.
func (db *DB) RunTotals(ctx context.Context, id int64) (ledger.RunTotals, error) {
	const query = `SELECT ` + runTotalsColumns + ` FROM run_totals WHERE id = $1`
	var t ledger.RunTotals
	if err := db.db.GetContext(ctx, &t, query, id); err != nil {
		return ledger.RunTotals{}, fmt.Errorf("read run %d: %w", id, named(err))
	}
	return t, nil
}

// LastRuns lists the newest runs first.
func (db *DB) LastRuns(ctx context.Context, limit int) ([]ledger.RunTotals, error) {
	const query = `SELECT ` + runTotalsColumns + ` FROM run_totals ORDER BY id DESC LIMIT $1`
	var runs []ledger.RunTotals
	if err := db.db.SelectContext(ctx, &runs, query, limit); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// FailureCount is how often a class of failure was met in a run.
type FailureCount struct {
	Class   string `db:"class" json:"class"`
	Answers int64  `db:"answers" json:"answers"`
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

// EventCount is how many events of a type there were.
type EventCount struct {
	Type  iap.EventType `db:"type" json:"type"`
	Count int64         `db:"count" json:"count"`
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
