package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/ledger"
)

// storedFilter is a filter as its run keeps it: of ids only how many there were,
// because a million of them would be read at each look at the run.
type storedFilter struct {
	ledger.Filter
	IDs int `json:"ids,omitempty"`
}

// OpenBackfill opens a backfill over the receipts that a filter chooses now. Its
// error is ledger.ErrNotFound where that is none: nothing is opened then.
func (db *DB) OpenBackfill(ctx context.Context, run ledger.Run, f ledger.Filter, owner ledger.Lease, now time.Time) (ledger.Run, error) {
	const open = `
		INSERT INTO runs (kind, scheduled_for, filter, share, cutoff, deadline, started_at, owner, owner_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		RETURNING id`
	const items = `
		INSERT INTO run_items (run_id, bundle_id, receipt_id)
		SELECT $10, r.bundle_id, r.id FROM receipts r WHERE ` + chosen
	const count = `
		INSERT INTO run_apps (run_id, bundle_id, due)
		SELECT run_id, bundle_id, count(*) FROM run_items WHERE run_id = $1 GROUP BY run_id, bundle_id`
	filter, err := json.Marshal(storedFilter{f, len(f.IDs)})
	if err != nil {
		return ledger.Run{}, fmt.Errorf("open backfill: %w", err)
	}
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		err := tx.GetContext(ctx, &run.ID, open, run.Kind, run.ScheduledFor, string(filter), run.Share,
			run.Cutoff, run.Deadline, now, owner.Owner, owner.Until)
		if err != nil {
			return named(err)
		}
		if _, err := tx.ExecContext(ctx, items, append(filterArgs(f), run.ID)...); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, count, run.ID)
		if err != nil {
			return err
		}
		if apps, err := result.RowsAffected(); err != nil || apps > 0 {
			return err
		}
		return fmt.Errorf("chosen receipts: %w", ledger.ErrNotFound)
	})
	if err != nil {
		return ledger.Run{}, fmt.Errorf("open backfill: %w", err)
	}
	return run, nil
}

// unchecked is a receipt r that nobody has checked since backfill $1 was
// started, at $2.
const unchecked = `(r.last_checked_at IS NULL OR r.last_checked_at < $2)`

// unasked is a receipt r that backfill $1 has not come to, and that nobody holds
// at $3.
const unasked = `r.claimed_until IS NULL AND ` + unchecked + ` AND ` + free

// waits is a receipt r of run $1 that was given back or failed, and whose wait
// is over at $9; or whose claim was lost. The wait for another try counts only
// where this run has brought it on: one from before says nothing about now.
const waits = `r.run_id = $1 AND r.claimed_until IS NULL
	AND (r.next_check_at IS NULL OR r.next_check_at <= $9 OR r.next_check_rule NOT IN ('retry', 'wait', 'clock_differs')
	     OR (r.next_check_rule = 'retry' AND ` + unchecked + `))`

// ClaimItems is Claim for a backfill: receipts in the order of their ids,
// whether they are due or not.
func (db *DB) ClaimItems(ctx context.Context, r ledger.ClaimRequest) ([]ledger.Claim, error) {
	if r.Limit <= 0 {
		return nil, nil
	}
	var claims []ledger.Claim
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		claims = nil
		rooms, err := roomOf(ctx, tx, r)
		if err != nil || len(rooms) == 0 {
			return err
		}
		items, err := claimItems(ctx, tx, r, rooms)
		if err != nil {
			return err
		}
		if err := moveOn(ctx, tx, r.RunID, rooms, items); err != nil || len(items) == 0 {
			return err
		}
		for _, item := range items {
			claims = append(claims, item.Claim)
		}
		return countEnqueued(ctx, tx, r.RunID, claims)
	})
	if err != nil {
		return nil, fmt.Errorf("claim receipts for backfill %d: %w", r.RunID, err)
	}
	return claims, nil
}

// room is how many receipts of an app a backfill may claim now, after the
// last one that it has come to.
type room struct {
	BundleID string `db:"bundle_id"`
	Reached  int64  `db:"reached"`
	N        int64  `db:"n"`
}

// roomOf is the room of a backfill. What all backfills together have with the
// workers is held to the share of what may be there: the queue is first in,
// first out, so that this is their part of the rate as well. Where the apps
// together exceed the depth of the queue, the part of each is less for all runs.
//
// Alone with an app, also a small share keeps enough with the workers for the
// whole rate, and little enough that another run gets its part within seconds.
func roomOf(ctx context.Context, tx *sqlx.Tx, r ledger.ClaimRequest) ([]room, error) {
	const query = `
		WITH claimed AS (
			SELECT bundle_id, count(*) AS n,
			       count(*) FILTER (WHERE run_id IN (SELECT id FROM runs WHERE kind = 'backfill')) AS backfills
			FROM receipts WHERE claimed_until IS NOT NULL GROUP BY bundle_id
		), apps_at_work AS (
			SELECT a.bundle_id, ceil(a.rate_per_second * coalesce(f.share, 1) * $2::float8) + a.burst AS ahead,
			       coalesce(c.n, 0) AS n, coalesce(c.backfills, 0) AS backfills, t.reached
			FROM apps a LEFT JOIN claimed c USING (bundle_id)
			     LEFT JOIN run_apps t ON t.run_id = $1 AND t.bundle_id = a.bundle_id
			     LEFT JOIN unnest($6::text[], $7::float8[]) AS f(bundle_id, share) ON f.bundle_id = a.bundle_id
			WHERE a.paused_at IS NULL AND coalesce(f.share, 1) > 0 AND (c.n > 0 OR t.run_id IS NOT NULL)
		), parts AS (
			SELECT *, ahead * least(1, ($3::float8 + (SELECT coalesce(sum(n), 0) FROM claimed)) / sum(ahead) OVER ()) AS part
			FROM apps_at_work
		), wanted AS (
			SELECT bundle_id, reached, greatest(0, least(ahead - n,
				greatest(1, floor(part * CASE WHEN n > backfills THEN $4::float8 ELSE greatest($4, $5::float8) END)) - backfills)) AS n
			FROM parts WHERE reached IS NOT NULL
		)
		SELECT bundle_id, reached, n FROM (
			SELECT bundle_id, reached, ceil(n * least(1, $3 / nullif(sum(n) OVER (), 0)))::bigint AS n FROM wanted
		) w WHERE n > 0`
	var rooms []room
	apps, shares, _ := inForce(r.Shares)
	err := tx.SelectContext(ctx, &rooms, query, r.RunID, r.Ahead.Seconds(), float64(r.Limit), r.Share, shareAlone, apps, shares)
	if err != nil {
		return nil, fmt.Errorf("find room: %w", err)
	}
	return rooms, nil
}

// shareAlone is what a backfill with a smaller share may have with the workers
// of an app that no other run is at.
const shareAlone = 0.3

// item is a claim of a backfill. A fresh one was come to for the first time.
type item struct {
	ledger.Claim
	Fresh bool `db:"fresh"`
}

// claimItems claims a page; for the array in its update see claimQuery.
func claimItems(ctx context.Context, tx *sqlx.Tx, r ledger.ClaimRequest, rooms []room) ([]item, error) {
	const query = `
		WITH picked AS (
			SELECT p.id, p.fresh
			FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS w(bundle_id, reached, n), LATERAL (
				SELECT again.id, false AS fresh FROM (
					SELECT r.id FROM receipts r WHERE r.bundle_id = w.bundle_id AND ` + waits + `
					LIMIT w.n FOR NO KEY UPDATE SKIP LOCKED
				) again
				UNION ALL
				SELECT next.id, true FROM (
					SELECT r.id FROM run_items i JOIN receipts r ON r.id = i.receipt_id
					WHERE i.run_id = $1 AND i.bundle_id = w.bundle_id AND i.receipt_id > w.reached AND ` + unasked + `
					ORDER BY i.receipt_id LIMIT w.n
					FOR NO KEY UPDATE OF r SKIP LOCKED
				) next
				LIMIT w.n
			) p
		)
		UPDATE receipts r
		SET generation = generation + 1, claimed_until = $4::timestamptz + make_interval(secs => floor(r.byte_size * $8::float8)), run_id = $1
		FROM picked
		WHERE r.id = picked.id AND r.id = ANY(ARRAY(SELECT id FROM picked)) AND r.claimed_until IS NULL
		RETURNING r.id, r.generation, r.bundle_id, r.byte_size, coalesce(r.next_check_at, $9) AS next_check_at, picked.fresh`
	apps, reached, n := make([]string, len(rooms)), make([]int64, len(rooms)), make([]int64, len(rooms))
	for i, w := range rooms {
		apps[i], reached[i], n[i] = w.BundleID, w.Reached, w.N
	}
	var items []item
	err := tx.SelectContext(ctx, &items, query, r.RunID, r.Cutoff, r.Now, r.Until, pq.Array(apps), pq.Array(reached), pq.Array(n), leasePerByte, dueAt(r))
	return items, err
}

// moveOn notes how far a backfill has come in each app. Where it found less than
// it had room for it is through, so that it does not go through the rest at
// every look.
//
// Rows of several apps are locked in the order in which outcomes are counted, or
// the two would wait for each other.
func moveOn(ctx context.Context, tx *sqlx.Tx, runID int64, rooms []room, items []item) error {
	const query = `
		WITH moved AS (
			SELECT bundle_id, n.reached
			FROM run_apps a JOIN unnest($2::text[], $3::bigint[]) AS n(bundle_id, reached) USING (bundle_id)
			WHERE a.run_id = $1 AND a.reached <> n.reached
			ORDER BY bundle_id
			FOR NO KEY UPDATE OF a
		)
		UPDATE run_apps t SET reached = m.reached FROM moved m WHERE t.run_id = $1 AND t.bundle_id = m.bundle_id`
	found, last := make(map[string]int64), make(map[string]int64)
	for _, item := range items {
		found[item.BundleID]++
		if item.Fresh {
			last[item.BundleID] = max(last[item.BundleID], item.ReceiptID)
		}
	}
	apps, reached := make([]string, len(rooms)), make([]int64, len(rooms))
	for i, w := range rooms {
		apps[i], reached[i] = w.BundleID, max(w.Reached, last[w.BundleID])
		if found[w.BundleID] < w.N {
			reached[i] = math.MaxInt64
		}
	}
	if _, err := tx.ExecContext(ctx, query, runID, pq.Array(apps), pq.Array(reached)); err != nil {
		return fmt.Errorf("note what was come to: %w", err)
	}
	return nil
}

// HasItems reports whether a backfill has anything left to ask about, or with
// the workers, or another run has something of it there. What it passed by
// because another run had it, and was not checked there, it goes through again
// before it ends. Paused apps are left out: see EndBackfill.
func (db *DB) HasItems(ctx context.Context, run ledger.Run, now time.Time) (bool, error) {
	const held = `SELECT EXISTS (SELECT 1 FROM receipts WHERE run_id = $1 AND claimed_until IS NOT NULL)
		OR EXISTS (SELECT 1 FROM receipts r JOIN apps a USING (bundle_id)
		           WHERE r.run_id = $1 AND r.claimed_until IS NULL AND a.paused_at IS NULL)
		OR EXISTS (SELECT 1 FROM receipts r JOIN run_items i ON i.bundle_id = r.bundle_id AND i.receipt_id = r.id
		           WHERE r.claimed_until IS NOT NULL AND i.run_id = $1 AND ` + unchecked + `)`
	const left = `
		SELECT EXISTS (
			SELECT 1 FROM run_apps t JOIN apps a USING (bundle_id)
			     JOIN run_items i ON i.run_id = t.run_id AND i.bundle_id = t.bundle_id
			     JOIN receipts r ON r.id = i.receipt_id
			WHERE t.run_id = $1 AND a.paused_at IS NULL AND ` + unasked + `)`
	const again = `
		WITH locked AS (SELECT bundle_id FROM run_apps WHERE run_id = $1 ORDER BY bundle_id FOR NO KEY UPDATE)
		UPDATE run_apps t SET reached = 0 FROM locked l WHERE t.run_id = $1 AND t.bundle_id = l.bundle_id`
	var has bool
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := tx.GetContext(ctx, &has, held, run.ID, run.Cutoff); err != nil || has {
			return err
		}
		if err := tx.GetContext(ctx, &has, left, run.ID, run.Cutoff, now); err != nil || !has {
			return err
		}
		_, err := tx.ExecContext(ctx, again, run.ID)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for work of backfill %d: %w", run.ID, err)
	}
	return has, nil
}

// ResumeRun makes owner the owner of a backfill that was interrupted, or whose
// owner is gone. Its error is ledger.ErrNotFound where there is no such run.
func (db *DB) ResumeRun(ctx context.Context, id int64, owner ledger.Lease, deadline, now time.Time) (ledger.Run, error) {
	const query = `
		UPDATE runs SET state = 'running', finished_at = NULL, owner = $2, owner_until = $3, deadline = $4
		WHERE id = $1 AND kind = 'backfill' AND (state = 'interrupted' OR (state = 'running' AND owner_until < $5))
		RETURNING id, kind, scheduled_for, cutoff, deadline, share`
	var run ledger.Run
	if err := db.db.GetContext(ctx, &run, query, id, owner.Owner, owner.Until, deadline, now); err != nil {
		return ledger.Run{}, fmt.Errorf("resume run %d: %w", id, named(err))
	}
	return run, nil
}

// InterruptBackfill ends a backfill for now, to be resumed; changed is false
// where it has ended or somebody else feeds it.
func (db *DB) InterruptBackfill(ctx context.Context, id int64, owner string, now time.Time) (changed bool, err error) {
	const query = `
		UPDATE runs SET state = 'interrupted', finished_at = $3
		WHERE id = $1 AND owner = $2 AND state = 'running'`
	return db.changed(ctx, fmt.Sprintf("interrupt run %d", id), query, id, owner, now)
}

// EndBackfill ends a backfill of which nothing is left but receipts of paused
// apps: where there are any, it is interrupted, because nothing else would ask
// about what is not due.
func (db *DB) EndBackfill(ctx context.Context, run ledger.Run, now time.Time) error {
	const query = `
		UPDATE runs SET finished_at = $3, state = CASE WHEN EXISTS (
			SELECT 1 FROM run_apps t JOIN apps a USING (bundle_id)
			     JOIN run_items i ON i.run_id = t.run_id AND i.bundle_id = t.bundle_id
			     JOIN receipts r ON r.id = i.receipt_id
			WHERE t.run_id = $1 AND a.paused_at IS NOT NULL AND ` + unchecked + `
		) THEN 'interrupted' ELSE 'finished' END
		WHERE id = $1 AND state = 'running'`
	if _, err := db.db.ExecContext(ctx, query, run.ID, run.Cutoff, now); err != nil {
		return fmt.Errorf("end backfill %d: %w", run.ID, err)
	}
	return nil
}

// Backfills lists the newest backfills first.
func (db *DB) Backfills(ctx context.Context, limit int) ([]ledger.RunTotals, error) {
	const query = `SELECT ` + runTotalsColumns + ` FROM run_totals WHERE kind = 'backfill' ORDER BY id DESC LIMIT $1`
	var runs []ledger.RunTotals
	if err := db.db.SelectContext(ctx, &runs, query, limit); err != nil {
		return nil, fmt.Errorf("list backfills: %w", err)
	}
	return runs, nil
}

// CancelRun ends a run that is running or interrupted; changed is false where
// it is neither.
func (db *DB) CancelRun(ctx context.Context, id int64, now time.Time) (changed bool, err error) {
	const query = `
		UPDATE runs SET state = 'cancelled', finished_at = $2
		WHERE id = $1 AND state IN ('running', 'interrupted')`
	return db.changed(ctx, fmt.Sprintf("cancel run %d", id), query, id, now)
}
