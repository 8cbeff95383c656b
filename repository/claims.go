package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// free is a receipt r that no run keeps for itself. A run that ended, by whatever
// way, keeps nothing, and neither does one that nobody has fed for a while.
const free = `(r.run_id IS NULL OR r.run_id NOT IN (SELECT id FROM runs WHERE state = 'running' AND owner_until >= $3))`

// Claim claims receipts of a run, oldest due first, with a fair share for each
// app, and leaves paused apps out. The claims are committed when it returns, so
// that a task on the queue always finds its claim. Its error is runs.ErrLost
// where the run has ended or has another owner.
//
// The share of an app is what it can ask about in the time that is kept queued,
// less what is with the workers already; where the shares together exceed the
// limit, each gives way by the same part.
//
// Rows are locked without their keys, which whoever links to them shares.
func (db *DB) Claim(ctx context.Context, r claim.Request) ([]claim.Claim, error) {
	var claims []claim.Claim
	if r.Limit <= 0 {
		return nil, nil
	}
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		claims = nil
		if err := feeds(ctx, tx, r); err != nil {
			return err
		}
		var rows []claimedNow
		if err := tx.SelectContext(ctx, &rows, claimQuery, claimArgs(r)...); err != nil {
			return err
		}
		var err error
		claims, err = countClaims(ctx, tx, r.RunID, rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim receipts for run %d: %w", r.RunID, err)
	}
	slices.SortFunc(claims, func(a, b claim.Claim) int { return a.DueAt.Compare(b.DueAt) })
	return claims, nil
}

// inForce takes shares apart, for a statement: the apps whose share of production
// is not whole, with these shares, and those of which nobody asks the sandbox.
func inForce(budgets map[string]float64) (allApps, shares, held any) {
	production, parts, sandbox := []string{}, []float64{}, []string{} // an empty array is not NULL
	for budget, share := range budgets {
		switch b := apps.ParseBudget(budget); {
		case b.Size != "" || b.Class != "": // others of the app go on
		case b.Environment == iap.Production:
			production, parts = append(production, b.BundleID), append(parts, share)
		case share == 0:
			sandbox = append(sandbox, b.BundleID)
		}
	}
	return pq.Array(production), pq.Array(parts), pq.Array(sandbox)
}

// ExplainClaim is a claim, and how Postgres went about it, line by line, for
// those who measure it. What is claimed runs out, and is not counted.
func (db *DB) ExplainClaim(ctx context.Context, r claim.Request) ([]string, error) {
	var plan []string
	if err := db.db.SelectContext(ctx, &plan, `EXPLAIN (ANALYZE, BUFFERS) `+claimQuery, claimArgs(r)...); err != nil {
		return nil, fmt.Errorf("explain a claim: %w", err)
	}
	return plan, nil
}

func claimArgs(r claim.Request) []any {
	apps, shares, stopped := inForce(r.Shares)
	holders, held := slices.Sorted(maps.Keys(r.Held)), make([]int64, 0, len(r.Held))
	for _, bundleID := range holders {
		held = append(held, int64(r.Held[bundleID]))
	}
	begun, since := slices.Sorted(maps.Keys(r.Since)), make([]time.Time, 0, len(r.Since))
	for _, bundleID := range begun {
		since = append(since, r.Since[bundleID])
	}
	return []any{r.RunID, r.Cutoff, r.Now, r.Until, r.Ahead.Seconds(), float64(r.Limit), apps, shares, stopped, leasePerByte,
		pq.Array(holders), pq.Array(held), dueAt(r), r.DueAfter, pq.Array(begun), pq.Array(since)}
}

// feeds fails with runs.ErrLost unless the owner of a request feeds its run,
// which until the end of the transaction nobody ends or takes over.
func feeds(ctx context.Context, tx *sqlx.Tx, r claim.Request) error {
	const query = `SELECT id FROM runs WHERE id = $1 AND state = 'running' AND ($2 = '' OR owner = $2) FOR SHARE`
	var id int64
	err := named(tx.GetContext(ctx, &id, query, r.RunID, r.Owner))
	if err == database.ErrNotFound {
		return runs.ErrLost
	}
	return err
}

// dueAt is up to when receipts are due for a request.
func dueAt(r claim.Request) time.Time {
	if r.Due.IsZero() {
		return r.Now
	}
	return r.Due
}

// What is due becomes an array before it is updated: Postgres takes a limit that it
// does not know for a tenth of the rows, and where a million is due would read the
// whole table to join it with a page. They are locked by then and stay where they
// are, so that their places find them without another index. Whether an app has
// any is asked for in their order, which keeps to the index: the table itself may
// begin with a million that are done. The index does so, too, until it is vacuumed:
// the pages of a round after the first begin where the one before ended.
const claimQuery = `
	WITH wanted AS (
		SELECT a.bundle_id, coalesce(s.since, '-infinity') AS since,
		       greatest(0, ceil(a.rate_per_second * coalesce(f.share, 1) * $5::float8) + a.burst - coalesce(c.n, 0)) AS n
		FROM apps a LEFT JOIN unnest($11::text[], $12::bigint[]) AS c(bundle_id, n) USING (bundle_id)
		     LEFT JOIN unnest($7::text[], $8::float8[]) AS f(bundle_id, share) USING (bundle_id)
		     LEFT JOIN unnest($15::text[], $16::timestamptz[]) AS s(bundle_id, since) USING (bundle_id)
		WHERE a.paused_at IS NULL AND coalesce(f.share, 1) > 0 AND (
			SELECT true FROM receipts
			WHERE bundle_id = a.bundle_id AND claimed_until IS NULL
			  AND next_check_at > coalesce($14::timestamptz, '-infinity') AND next_check_at >= coalesce(s.since, '-infinity')
			  AND next_check_at <= $13
			ORDER BY next_check_at LIMIT 1)
	), shares AS (
		SELECT bundle_id, since, ceil(n * least(1, $6::float8 / nullif(sum(n) OVER (), 0)))::bigint AS n FROM wanted
	), due AS (
		SELECT d.ctid, d.run_id
		FROM shares, LATERAL (
			SELECT r.ctid, r.run_id FROM receipts r
			WHERE r.bundle_id = shares.bundle_id AND r.claimed_until IS NULL
			  AND next_check_at > coalesce($14::timestamptz, '-infinity') AND next_check_at >= shares.since AND next_check_at <= $13
			  AND (r.run_id = $1 OR (next_check_at <= $2 AND ` + free + `))
			  AND (r.environment IS DISTINCT FROM 'Sandbox' OR r.bundle_id <> ALL ($9::text[]))
			ORDER BY next_check_at, r.id
			LIMIT shares.n
			FOR NO KEY UPDATE SKIP LOCKED
		) d
		WHERE shares.n > 0
	)
	UPDATE receipts r
	SET generation = generation + 1, claimed_until = $4::timestamptz + make_interval(secs => floor(r.byte_size * $10::float8)), run_id = $1
	FROM due
	WHERE r.ctid = due.ctid AND r.ctid = ANY(ARRAY(SELECT ctid FROM due)) AND r.claimed_until IS NULL
	RETURNING r.id, r.generation, r.bundle_id, r.byte_size, r.next_check_at, coalesce(due.run_id, 0) AS before`

// leasePerByte is how much longer a claim lasts for each byte of its receipt, in
// seconds.
const leasePerByte = float64(claim.LeasePerByte) / float64(time.Second)

// claimedNow is a claim, and the run that had the receipt before, 0 where none had.
type claimedNow struct {
	claim.Claim
	Before int64 `db:"before"`
}

// countClaims counts claims of a run, and what left it meanwhile. What it took from
// another one that was not fed left that; one that has ended has released it before.
func countClaims(ctx context.Context, tx *sqlx.Tx, runID int64, rows []claimedNow, leaving ...left) ([]claim.Claim, error) {
	var others []int64
	for _, r := range rows {
		if r.Before != 0 && r.Before != runID {
			others = append(others, r.Before)
		}
	}
	unfed, err := live(ctx, tx, others)
	if err != nil {
		return nil, err
	}
	claims := make([]claim.Claim, len(rows))
	var totals []appTotals
	for i, r := range rows {
		claims[i] = r.Claim
		t := appTotals{RunID: runID, BundleID: r.BundleID, Enqueued: 1}
		if r.Before != runID {
			t.Claimed = 1
		}
		if r.Before != runID && unfed[r.Before] {
			leaving = append(leaving, left{r.Before, r.BundleID, 1})
		}
		totals = append(totals, t)
	}
	for _, l := range leaving {
		totals = append(totals, appTotals{RunID: l.RunID, BundleID: l.BundleID, Released: l.N})
	}
	return claims, addTotals(ctx, tx, totals)
}

// ClaimedCount is how many receipts are with the workers, of all runs.
func (db *DB) ClaimedCount(ctx context.Context) (claim.Held, error) {
	const query = `SELECT bundle_id, count(*) AS n FROM receipts WHERE claimed_until IS NOT NULL GROUP BY bundle_id`
	var counts []struct {
		BundleID string `db:"bundle_id"`
		N        int    `db:"n"`
	}
	if err := db.db.SelectContext(ctx, &counts, query); err != nil {
		return nil, fmt.Errorf("count claims: %w", err)
	}
	held := make(claim.Held, len(counts))
	for _, c := range counts {
		held[c.BundleID] = c.N
	}
	return held, nil
}

// ReleaseExpired ends every claim whose lease has run out, and returns how many:
// their receipts are due again.
func (db *DB) ReleaseExpired(ctx context.Context, now time.Time) (released int64, err error) {
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		released, err = release(ctx, tx, `claimed_until < $1`, now)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("release expired claims: %w", err)
	}
	return released, nil
}

// release ends claims by the clock or all of them. Their receipts stay in the runs
// that go on, and leave those that have ended. What somebody has locked is left to
// them: its result is being stored.
func release(ctx context.Context, tx *sqlx.Tx, which string, args ...any) (released int64, err error) {
	runsQuery := `SELECT DISTINCT run_id FROM receipts WHERE claimed_until IS NOT NULL AND run_id IS NOT NULL AND ` + which
	query := fmt.Sprintf(`
		WITH held AS (
			SELECT id, run_id FROM receipts WHERE claimed_until IS NOT NULL AND %s
			ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
		), freed AS (
			UPDATE receipts r SET claimed_until = NULL, run_id = CASE WHEN r.run_id = ANY($%d) THEN r.run_id END
			FROM held WHERE r.id = held.id AND r.id = ANY(ARRAY(SELECT id FROM held))
			RETURNING coalesce(held.run_id, 0) AS run_id, r.bundle_id
		)
		SELECT run_id, bundle_id, count(*) AS n FROM freed GROUP BY run_id, bundle_id`, which, len(args)+1)
	var ids []int64
	if err := tx.SelectContext(ctx, &ids, runsQuery, args...); err != nil {
		return 0, err
	}
	goOn, err := live(ctx, tx, ids)
	if err != nil {
		return 0, err
	}
	var freed []left
	if err := tx.SelectContext(ctx, &freed, query, append(args, pq.Array(keysOf(goOn)))...); err != nil {
		return 0, err
	}
	var leaving []left
	for _, l := range freed {
		released += l.N
		if l.RunID != 0 && !goOn[l.RunID] {
			leaving = append(leaving, l)
		}
	}
	return released, countReleased(ctx, tx, leaving)
}

// ClaimsBefore are claims that were made before a time and have not ended, those
// that run out first first, and no more than limit. lease is for how long claims on
// small receipts are made.
func (db *DB) ClaimsBefore(ctx context.Context, made time.Time, lease time.Duration, limit int) ([]claim.Claim, error) {
	const query = `
		SELECT id, generation, bundle_id, byte_size, coalesce(next_check_at, claimed_until) AS next_check_at
		FROM receipts r
		WHERE claimed_until IS NOT NULL
		  AND claimed_until - make_interval(secs => floor(byte_size * $2::float8)) < $1
		ORDER BY claimed_until, id LIMIT $3`
	var claims []claim.Claim
	if err := db.db.SelectContext(ctx, &claims, query, made.Add(lease), leasePerByte, limit); err != nil {
		return nil, fmt.Errorf("find old claims: %w", err)
	}
	return claims, nil
}

// FollowEpoch makes the database follow the queue: where the queue's epoch is
// another than the one that claims were made under, its tasks are gone, and
// every claim is released. Of several callers one does it. The epoch is read while
// the others wait, so that nobody follows an older one than was followed before.
func (db *DB) FollowEpoch(ctx context.Context, read func(context.Context) (string, error)) (f claim.Followed, err error) {
	const (
		first  = `INSERT INTO queue_epoch (epoch) VALUES ('') ON CONFLICT DO NOTHING`
		lock   = `SELECT epoch FROM queue_epoch FOR NO KEY UPDATE`
		follow = `UPDATE queue_epoch SET epoch = $1`
	)
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		f = claim.Followed{}
		if _, err := tx.ExecContext(ctx, first); err != nil {
			return err
		}
		var followed string
		if err := tx.GetContext(ctx, &followed, lock); err != nil {
			return err
		}
		if f.Epoch, err = read(ctx); err != nil || f.Epoch == followed {
			return err
		}
		f.Changed = true
		if _, err := tx.ExecContext(ctx, follow, f.Epoch); err != nil {
			return err
		}
		f.Released, err = release(ctx, tx, `true`)
		return err
	})
	if err != nil {
		return claim.Followed{}, fmt.Errorf("follow queue epoch: %w", err)
	}
	return f, nil
}
