package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/runs"
)

// storedFilter is a filter as its run keeps it: of ids only how many there were,
// because a million of them would be read at each look at the run.
type storedFilter struct {
	runs.Filter
	IDs int `json:"ids,omitempty"`
}

// OpenBackfill opens a backfill over the receipts that are there now and that a
// filter chooses, which ChooseItems does.
func (db *DB) OpenBackfill(ctx context.Context, run runs.Run, f runs.Filter, owner runs.Lease, now time.Time) (runs.Run, error) {
	const open = `
		INSERT INTO runs (kind, scheduled_for, filter, share, cutoff, deadline, started_by, started_at, owner, owner_until,
			choice, chosen_up_to, choose_up_to)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, (SELECT coalesce(max(id), 0) FROM receipts))
		RETURNING id`
	filter, err := json.Marshal(storedFilter{f, len(f.IDs)})
	if err != nil {
		return runs.Run{}, fmt.Errorf("open backfill: %w", err)
	}
	choice, err := json.Marshal(f)
	if err != nil {
		return runs.Run{}, fmt.Errorf("open backfill: %w", err)
	}
	err = db.db.GetContext(ctx, &run.ID, open, run.Kind, run.ScheduledFor, string(filter), run.Share, run.Cutoff,
		run.Deadline, run.StartedBy, now, owner.Owner, owner.Until, string(choice))
	if err != nil {
		return runs.Run{}, fmt.Errorf("open backfill: %w", named(err))
	}
	return run, nil
}

// chosenTogether is how many receipts are looked at in one step of choosing, which
// takes a part of a second.
const chosenTogether = 20_000

// ChooseItems chooses the receipts of a backfill that is opened, in steps that are
// each committed, and goes on where another process left it. What is chosen already
// is chosen. Its error is runs.ErrLost where the run has ended.
func (db *DB) ChooseItems(ctx context.Context, id int64, now time.Time) error {
	const read = `SELECT choice FROM runs WHERE id = $1`
	var choice *string
	if err := db.db.GetContext(ctx, &choice, read, id); err != nil {
		return fmt.Errorf("choose receipts of backfill %d: %w", id, named(err))
	}
	if choice == nil {
		return nil
	}
	var f runs.Filter
	if err := json.Unmarshal([]byte(*choice), &f); err != nil {
		return fmt.Errorf("choose receipts of backfill %d: %w", id, err)
	}
	slices.Sort(f.IDs)
	for done := false; !done; {
		err := db.inTx(ctx, func(tx *sqlx.Tx) (err error) {
			done, err = chooseStep(ctx, tx, id, f, now)
			return err
		})
		if err != nil {
			return fmt.Errorf("choose receipts of backfill %d: %w", id, err)
		}
	}
	return nil
}

// chooseStep chooses among the next receipts. The row of the run is locked, so that
// it does not end meanwhile, and nobody else chooses.
func chooseStep(ctx context.Context, tx *sqlx.Tx, id int64, f runs.Filter, now time.Time) (done bool, err error) {
	const lock = `SELECT chosen_up_to, choose_up_to FROM runs WHERE id = $1 AND state = 'running' FOR NO KEY UPDATE`
	const choose = `
		WITH items AS (
			INSERT INTO run_items (run_id, bundle_id, receipt_id)
			SELECT $10, r.bundle_id, r.id FROM receipts r WHERE r.id > $11 AND r.id <= $12 AND ` + chosen + `
			ON CONFLICT DO NOTHING
			RETURNING bundle_id
		)
		INSERT INTO run_apps AS t (run_id, bundle_id, due)
		SELECT $10, bundle_id, count(*) FROM items GROUP BY bundle_id ORDER BY bundle_id
		ON CONFLICT (run_id, bundle_id) DO UPDATE SET due = t.due + excluded.due`
	const note = `
		UPDATE runs SET chosen_up_to = $2, choice = CASE WHEN $2 < choose_up_to THEN choice END,
			counted_at = CASE WHEN $2 >= choose_up_to THEN $3::timestamptz END
		WHERE id = $1`
	var at struct {
		From  int64 `db:"chosen_up_to"`
		Until int64 `db:"choose_up_to"`
	}
	if err := named(tx.GetContext(ctx, &at, lock, id)); err == database.ErrNotFound {
		return false, runs.ErrLost
	} else if err != nil {
		return false, err
	}
	page, upTo := pageOf(f, at.From, at.Until)
	if _, err := tx.ExecContext(ctx, choose, append(filterArgs(page), id, at.From, upTo)...); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, note, id, upTo, now)
	return upTo >= at.Until, err
}

// pageOf is the part of a filter for one step after the receipt from, and up to
// which receipt that goes. Receipts of customers have an index of their own, and are
// chosen at once; ids, which are sorted, tell by themselves where to look.
func pageOf(f runs.Filter, from, until int64) (page runs.Filter, upTo int64) {
	switch {
	case len(f.IDs) > 0:
		first, found := slices.BinarySearch(f.IDs, from)
		for found && first < len(f.IDs) && f.IDs[first] == from {
			first++
		}
		last := min(first+chosenTogether, len(f.IDs))
		f.IDs = f.IDs[first:last]
		if len(f.IDs) < chosenTogether {
			return f, until
		}
		return f, min(f.IDs[len(f.IDs)-1], until)
	case len(f.CustomerRefs) > 0:
		return f, until
	}
	return f, min(from+chosenTogether, until)
}

// DropEmpty removes a backfill that has chosen nothing; dropped is false where it
// has.
func (db *DB) DropEmpty(ctx context.Context, id int64) (dropped bool, err error) {
	const query = `DELETE FROM runs WHERE id = $1 AND counted_at IS NOT NULL AND NOT EXISTS (SELECT FROM run_apps WHERE run_id = $1)`
	return db.changed(ctx, fmt.Sprintf("remove empty backfill %d", id), query, id)
}

// unchecked is a receipt r that nobody has checked since backfill $1 was
// started, at $2.
const unchecked = `(r.last_checked_at IS NULL OR r.last_checked_at < $2)`

// unasked is a receipt r that backfill $1 has not checked, and that nobody holds
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
func (db *DB) ClaimItems(ctx context.Context, r claim.Request) (claims []claim.Claim, err error) {
	if r.Limit <= 0 {
		return nil, nil
	}
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		claims = nil
		if err := feeds(ctx, tx, r); err != nil {
			return err
		}
		rooms, err := roomOf(ctx, tx, r)
		if err != nil || len(rooms) == 0 {
			return err
		}
		again, err := claimAgain(ctx, tx, r, rooms)
		if err != nil {
			return err
		}
		next, checked, err := claimNext(ctx, tx, r, less(rooms, again))
		if err != nil {
			return err
		}
		claims, err = countClaims(ctx, tx, r.RunID, append(again, next...), checked...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim receipts for backfill %d: %w", r.RunID, err)
	}
	return claims, nil
}

// room is how many receipts of an app a backfill may claim now, after the
// last one that it has looked at.
type room struct {
	BundleID string `db:"bundle_id"`
	Reached  int64  `db:"reached"`
	N        int64  `db:"n"`
	// Held is how many receipts of the app are with the workers.
	Held int64 `db:"held"`
}

// look is how many items to look at: those that others have are passed by.
func (w room) look() int64 { return w.N + w.Held + 10 }

// roomOf is the room of a backfill. What all backfills together have with the
// workers is held to the share of what may be there: the queue is first in,
// first out, so that this is their part of the rate as well. Where the apps
// together exceed the depth of the queue, the part of each is less for all runs.
//
// Alone with an app, also a small share keeps enough with the workers for the
// whole rate, and little enough that another run gets its part within seconds.
func roomOf(ctx context.Context, tx *sqlx.Tx, r claim.Request) ([]room, error) {
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
			SELECT bundle_id, reached, n AS held, greatest(0, least(ahead - n,
				greatest(1, floor(part * CASE WHEN n > backfills THEN $4::float8 ELSE greatest($4, $5::float8) END)) - backfills)) AS n
			FROM parts WHERE reached IS NOT NULL
		)
		SELECT bundle_id, reached, held, n FROM (
			SELECT bundle_id, reached, held, ceil(n * least(1, $3 / nullif(sum(n) OVER (), 0)))::bigint AS n FROM wanted
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

// less is the room that claims leave.
func less(rooms []room, claims []claimedNow) []room {
	taken := make(map[string]int64)
	for _, c := range claims {
		taken[c.BundleID]++
	}
	rooms = slices.Clone(rooms)
	for i, w := range rooms {
		rooms[i].N = w.N - taken[w.BundleID]
	}
	return slices.DeleteFunc(rooms, func(w room) bool { return w.N <= 0 })
}

// claimAs claims the receipts in picked for run $1 until $4, as of $9; for the array
// see claimQuery. What is not due has no time of its own.
const claimAs = `
	UPDATE receipts r
	SET generation = generation + 1, claimed_until = $4::timestamptz + make_interval(secs => floor(r.byte_size * $8::float8)), run_id = $1
	FROM picked
	WHERE r.id = picked.id AND r.id = ANY(ARRAY(SELECT id FROM picked)) AND r.claimed_until IS NULL
	RETURNING r.id, r.generation, r.bundle_id, r.byte_size, coalesce(r.next_check_at, $9) AS next_check_at, coalesce(picked.run_id, 0) AS before`

func itemArgs(r claim.Request, rooms []room) []any {
	apps, reached, n := make([]string, len(rooms)), make([]int64, len(rooms)), make([]int64, len(rooms))
	for i, w := range rooms {
		apps[i], reached[i], n[i] = w.BundleID, w.Reached, w.N
	}
	return []any{r.RunID, r.Cutoff, r.Now, r.Until, pq.Array(apps), pq.Array(reached), pq.Array(n), leasePerByte, dueAt(r)}
}

// claimAgain claims receipts that a backfill has come to before.
func claimAgain(ctx context.Context, tx *sqlx.Tx, r claim.Request, rooms []room) (claims []claimedNow, err error) {
	const query = `
		WITH picked AS (
			SELECT a.id, a.run_id
			FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS w(bundle_id, reached, n), LATERAL (
				SELECT r.id, r.run_id FROM receipts r WHERE r.bundle_id = w.bundle_id AND $3::timestamptz IS NOT NULL AND ` + waits + `
				LIMIT w.n FOR NO KEY UPDATE SKIP LOCKED
			) a
		)` + claimAs
	err = tx.SelectContext(ctx, &claims, query, itemArgs(r, rooms)...)
	return claims, err
}

// claimNext looks at the next items, and claims those that nobody has. Whatever is
// claimed, checked meanwhile or gone is an item no more; the latter two have left the
// run. What somebody else has it passes by, and comes back to it when it is through.
func claimNext(ctx context.Context, tx *sqlx.Tx, r claim.Request, rooms []room) (claims []claimedNow, checked []left, err error) {
	const query = `
		WITH looked AS (
			SELECT i.bundle_id, i.receipt_id, w.n, r.id IS NULL OR NOT ` + unchecked + ` AS gone, r.id IS NOT NULL AND ` + unasked + ` AS unasked
			FROM unnest($5::text[], $6::bigint[], $7::bigint[], $10::bigint[]) AS w(bundle_id, reached, n, look) CROSS JOIN LATERAL (
				SELECT bundle_id, receipt_id FROM run_items
				WHERE run_id = $1 AND bundle_id = w.bundle_id AND receipt_id > w.reached
				ORDER BY receipt_id LIMIT w.look
			) i LEFT JOIN receipts r ON r.id = i.receipt_id
		), wanted AS (
			SELECT receipt_id FROM (
				SELECT *, count(*) FILTER (WHERE unasked) OVER (PARTITION BY bundle_id ORDER BY receipt_id) AS nth FROM looked
			) l WHERE unasked AND nth <= n
		), picked AS (
			SELECT r.id, r.run_id FROM receipts r
			WHERE r.id = ANY(ARRAY(SELECT receipt_id FROM wanted)) AND ` + unasked + `
			ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED
		), claimed AS (` + claimAs + `
		), taken AS (
			DELETE FROM run_items i USING looked l
			WHERE i.run_id = $1 AND i.bundle_id = l.bundle_id AND i.receipt_id = l.receipt_id
			  AND (l.gone OR l.receipt_id IN (SELECT id FROM claimed))
		)
		SELECT l.receipt_id AS id, l.bundle_id, coalesce(c.generation, 0) AS generation, coalesce(c.byte_size, 0) AS byte_size,
		       coalesce(c.next_check_at, $9) AS next_check_at, coalesce(c.before, 0) AS before, l.gone
		FROM looked l LEFT JOIN claimed c ON c.id = l.receipt_id ORDER BY l.receipt_id`
	if len(rooms) == 0 {
		return nil, nil, nil
	}
	look := make([]int64, len(rooms))
	for i, w := range rooms {
		look[i] = w.look()
	}
	var items []struct {
		claimedNow
		Gone bool `db:"gone"`
	}
	if err := tx.SelectContext(ctx, &items, query, append(itemArgs(r, rooms), pq.Array(look))...); err != nil {
		return nil, nil, err
	}
	looked, fresh := make(map[string]int64), make(map[string]int64)
	lastLooked, lastFresh := make(map[string]int64), make(map[string]int64)
	for _, item := range items {
		looked[item.BundleID]++
		lastLooked[item.BundleID] = item.ReceiptID
		switch {
		case item.Generation > 0:
			claims = append(claims, item.claimedNow)
			fresh[item.BundleID]++
			lastFresh[item.BundleID] = item.ReceiptID
		case item.Gone:
			checked = append(checked, left{r.RunID, item.BundleID, 1})
		}
	}
	for i, w := range rooms {
		switch {
		case fresh[w.BundleID] == w.N: // what comes after may be free too
			rooms[i].Reached = lastFresh[w.BundleID]
		case looked[w.BundleID] == w.look():
			rooms[i].Reached = lastLooked[w.BundleID]
		default:
			rooms[i].Reached = 0
		}
	}
	return claims, checked, moveOn(ctx, tx, r.RunID, rooms)
}

// moveOn notes how far a backfill has looked in each app.
//
// Rows of several apps are locked in the order in which outcomes are counted, or
// the two would wait for each other.
func moveOn(ctx context.Context, tx *sqlx.Tx, runID int64, rooms []room) error {
	const query = `
		WITH moved AS (
			SELECT bundle_id, n.reached
			FROM run_apps a JOIN unnest($2::text[], $3::bigint[]) AS n(bundle_id, reached) USING (bundle_id)
			WHERE a.run_id = $1 AND a.reached <> n.reached
			ORDER BY bundle_id
			FOR NO KEY UPDATE OF a
		)
		UPDATE run_apps t SET reached = m.reached FROM moved m WHERE t.run_id = $1 AND t.bundle_id = m.bundle_id`
	apps, reached := make([]string, len(rooms)), make([]int64, len(rooms))
	for i, w := range rooms {
		apps[i], reached[i] = w.BundleID, w.Reached
	}
	if _, err := tx.ExecContext(ctx, query, runID, pq.Array(apps), pq.Array(reached)); err != nil {
		return fmt.Errorf("note what was read: %w", err)
	}
	return nil
}

// HasItems reports whether a backfill has anything left that it has not come to, or
// that waits or is with the workers. Paused apps are left out: see EndBackfill. It
// looks for one row of each.
func (db *DB) HasItems(ctx context.Context, run runs.Run) (bool, error) {
	const query = `
		SELECT EXISTS (SELECT FROM receipts WHERE run_id = $1 AND claimed_until IS NOT NULL)
		    OR EXISTS (SELECT FROM receipts r JOIN apps a USING (bundle_id)
		               WHERE r.run_id = $1 AND r.claimed_until IS NULL AND a.paused_at IS NULL)
		    OR EXISTS (SELECT FROM run_apps t JOIN apps a USING (bundle_id)
		               WHERE t.run_id = $1 AND a.paused_at IS NULL
		                 AND EXISTS (SELECT FROM run_items WHERE run_id = $1 AND bundle_id = t.bundle_id))`
	var has bool
	if err := db.db.GetContext(ctx, &has, query, run.ID); err != nil {
		return false, fmt.Errorf("find work of backfill %d: %w", run.ID, err)
	}
	return has, nil
}

// EndBackfill ends a backfill of which nothing is left but receipts of paused
// apps: where there are any, it is interrupted, because nothing else would ask
// about what is not due.
func (db *DB) EndBackfill(ctx context.Context, run runs.Run, now time.Time) (changed bool, err error) {
	const query = `
		SELECT EXISTS (SELECT FROM run_items WHERE run_id = $1)
		    OR EXISTS (SELECT FROM receipts WHERE run_id = $1 AND claimed_until IS NULL)
		    OR EXISTS (SELECT FROM receipts WHERE run_id = $1 AND claimed_until IS NOT NULL)`
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		var left bool
		if err := tx.GetContext(ctx, &left, query, run.ID); err != nil {
			return err
		}
		state := runs.Finished
		if left {
			state = runs.Interrupted
		}
		changed, err = endRun(ctx, tx, run.ID, state, now, runs.Running)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("end backfill %d: %w", run.ID, err)
	}
	return changed, nil
}

// ResumeRun makes owner the owner of a run that was interrupted, or that nobody
// feeds. Its error is database.ErrNotFound where there is no such run.
func (db *DB) ResumeRun(ctx context.Context, id int64, owner runs.Lease, deadline, now time.Time) (runs.Run, error) {
	const query = `
		UPDATE runs SET state = 'running', finished_at = NULL, owner = $2, owner_until = $3, deadline = $4
		WHERE id = $1 AND (state = 'interrupted' OR (state = 'running' AND owner_until < $5))
		RETURNING ` + runColumns
	var run runs.Run
	if err := db.db.GetContext(ctx, &run, query, id, owner.Owner, owner.Until, deadline, now); err != nil {
		return runs.Run{}, fmt.Errorf("resume run %d: %w", id, named(err))
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

// Backfills lists the newest backfills first.
func (db *DB) Backfills(ctx context.Context, limit int) ([]runs.Totals, error) {
	const query = `SELECT ` + runTotalsColumns + ` FROM run_totals WHERE kind = 'backfill' ORDER BY id DESC LIMIT $1`
	var runs []runs.Totals
	if err := db.db.SelectContext(ctx, &runs, query, limit); err != nil {
		return nil, fmt.Errorf("list backfills: %w", err)
	}
	return runs, nil
}

// CancelRun ends a run that is running or interrupted; changed is false where
// it is neither.
func (db *DB) CancelRun(ctx context.Context, id int64, now time.Time) (changed bool, err error) {
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		changed, err = endRun(ctx, tx, id, runs.Cancelled, now, runs.Running, runs.Interrupted)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("cancel run %d: %w", id, err)
	}
	return changed, nil
}
