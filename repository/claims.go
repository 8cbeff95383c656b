package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// free is a receipt r that no run keeps for itself. A run that ended, by whatever
// way, keeps nothing, and neither does one that nobody has fed for a while.
const free = `(r.run_id IS NULL OR r.run_id NOT IN (SELECT id FROM runs WHERE state = 'running' AND owner_until >= $3))`

// Claim claims receipts of a run, oldest due first, with a fair share for each
// app, and leaves paused apps out. The claims are committed when it returns, so
// that a task on the queue always finds its claim.
//
// The share of an app is what it can ask about in the time that is kept queued,
// less what is with the workers already; where the shares together exceed the
// limit, each gives way by the same part.
//
// Rows are locked without their keys, which a backfill that is being opened over
// millions of receipts holds for minutes.
func (db *DB) Claim(ctx context.Context, r ledger.ClaimRequest) ([]ledger.Claim, error) {
	var claims []ledger.Claim
	if r.Limit <= 0 {
		return nil, nil
	}
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		claims = nil
		err := tx.SelectContext(ctx, &claims, claimQuery, claimArgs(r)...)
		if err != nil || len(claims) == 0 {
			return err
		}
		return countEnqueued(ctx, tx, r.RunID, claims)
	})
	if err != nil {
		return nil, fmt.Errorf("claim receipts for run %d: %w", r.RunID, err)
	}
	slices.SortFunc(claims, func(a, b ledger.Claim) int { return a.DueAt.Compare(b.DueAt) })
	return claims, nil
}

// inForce takes shares apart, for a statement: the apps whose share of production
// is not whole, with these shares, and those of which nobody asks the sandbox.
func inForce(budgets map[string]float64) (apps, shares, held any) {
	production, parts, sandbox := []string{}, []float64{}, []string{} // an empty array is not NULL
	for budget, share := range budgets {
		switch b := ledger.ParseBudget(budget); {
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
func (db *DB) ExplainClaim(ctx context.Context, r ledger.ClaimRequest) ([]string, error) {
	var plan []string
	if err := db.db.SelectContext(ctx, &plan, `EXPLAIN (ANALYZE, BUFFERS) `+claimQuery, claimArgs(r)...); err != nil {
		return nil, fmt.Errorf("explain a claim: %w", err)
	}
	return plan, nil
}

func claimArgs(r ledger.ClaimRequest) []any {
	apps, shares, stopped := inForce(r.Shares)
	holders, held := slices.Sorted(maps.Keys(r.Held)), make([]int64, 0, len(r.Held))
	for _, bundleID := range holders {
		held = append(held, int64(r.Held[bundleID]))
	}
	return []any{r.RunID, r.Cutoff, r.Now, r.Until, r.Ahead.Seconds(), float64(r.Limit), apps, shares, stopped, leasePerByte,
		pq.Array(holders), pq.Array(held), dueAt(r)}
}

// dueAt is up to when receipts are due for a request.
func dueAt(r ledger.ClaimRequest) time.Time {
	if r.Due.IsZero() {
		return r.Now
	}
	return r.Due
}

// What is due becomes an array before it is updated: Postgres takes a limit that it
// does not know for a tenth of the rows, and where a million is due would read the
// whole table to join it with a page. Whether an app has any is asked for in their
// order, which keeps to the index: the table itself may begin with a million that
// are done.
const claimQuery = `
	WITH wanted AS (
		SELECT a.bundle_id, greatest(0, ceil(a.rate_per_second * coalesce(f.share, 1) * $5::float8) + a.burst - coalesce(c.n, 0)) AS n
		FROM apps a LEFT JOIN unnest($11::text[], $12::bigint[]) AS c(bundle_id, n) USING (bundle_id)
		     LEFT JOIN unnest($7::text[], $8::float8[]) AS f(bundle_id, share) USING (bundle_id)
		WHERE a.paused_at IS NULL AND coalesce(f.share, 1) > 0 AND (
			SELECT true FROM receipts
			WHERE bundle_id = a.bundle_id AND claimed_until IS NULL AND next_check_at <= $13
			ORDER BY next_check_at LIMIT 1)
	), shares AS (
		SELECT bundle_id, ceil(n * least(1, $6::float8 / nullif(sum(n) OVER (), 0)))::bigint AS n FROM wanted
	), due AS (
		SELECT d.id
		FROM shares, LATERAL (
			SELECT r.id FROM receipts r
			WHERE r.bundle_id = shares.bundle_id AND r.claimed_until IS NULL AND next_check_at <= $13
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
	WHERE r.id = ANY(ARRAY(SELECT id FROM due)) AND r.claimed_until IS NULL
	RETURNING r.id, r.generation, r.bundle_id, r.byte_size, r.next_check_at`

// leasePerByte is how much longer a claim lasts for each byte of its receipt, in
// seconds.
const leasePerByte = float64(ledger.LeasePerByte) / float64(time.Second)

func countEnqueued(ctx context.Context, tx *sqlx.Tx, runID int64, claims []ledger.Claim) error {
	const query = `
		INSERT INTO run_apps AS t (run_id, bundle_id, enqueued)
		SELECT $1, bundle_id, count(*) FROM unnest($2::text[]) AS c(bundle_id)
		GROUP BY bundle_id ORDER BY bundle_id
		ON CONFLICT (run_id, bundle_id) DO UPDATE SET enqueued = t.enqueued + excluded.enqueued`
	apps := make([]string, len(claims))
	for i, c := range claims {
		apps[i] = c.BundleID
	}
	_, err := tx.ExecContext(ctx, query, runID, pq.Array(apps))
	return err
}

// ClaimedCount is how many receipts are with the workers, of all runs.
func (db *DB) ClaimedCount(ctx context.Context) (ledger.Held, error) {
	const query = `SELECT bundle_id, count(*) AS n FROM receipts WHERE claimed_until IS NOT NULL GROUP BY bundle_id`
	var counts []struct {
		BundleID string `db:"bundle_id"`
		N        int    `db:"n"`
	}
	if err := db.db.SelectContext(ctx, &counts, query); err != nil {
		return nil, fmt.Errorf("count claims: %w", err)
	}
	held := make(ledger.Held, len(counts))
	for _, c := range counts {
		held[c.BundleID] = c.N
	}
	return held, nil
}

// ReleaseExpired ends every claim whose lease has run out, and returns how many:
// their receipts are due again.
func (db *DB) ReleaseExpired(ctx context.Context, now time.Time) (int64, error) {
	const query = `UPDATE receipts SET claimed_until = NULL WHERE claimed_until < $1`
	result, err := db.db.ExecContext(ctx, query, now)
	if err != nil {
		return 0, fmt.Errorf("release expired claims: %w", err)
	}
	return result.RowsAffected()
}

// FollowEpoch makes the database follow the queue: where the queue's epoch is
// another than the one that claims were made under, its tasks are gone, and
// every claim is released. Of several callers one does it.
func (db *DB) FollowEpoch(ctx context.Context, epoch string) (released int64, changed bool, err error) {
	const adopt = `
		INSERT INTO queue_epoch AS e (epoch) VALUES ($1)
		ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch WHERE e.epoch <> excluded.epoch`
	const release = `UPDATE receipts SET claimed_until = NULL WHERE claimed_until IS NOT NULL`
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		result, err := tx.ExecContext(ctx, adopt, epoch)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		changed = true
		result, err = tx.ExecContext(ctx, release)
		if err != nil {
			return err
		}
		released, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("follow queue epoch: %w", err)
	}
	return released, changed, nil
}
