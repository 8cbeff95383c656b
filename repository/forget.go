package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/iap"
)

// Forgotten is what was removed of one customer, in rows.
type Forgotten struct {
	Receipts int64 `json:"receipts"`
	// Bytes is how many bytes of receipts.
	Bytes         int64 `json:"bytes"`
	Links         int64 `json:"links"`
	Subscriptions int64 `json:"subscriptions"`
	Purchases     int64 `json:"purchases"`
	Events        int64 `json:"events"`
	RunItems      int64 `json:"run_items"`
	// Kept is how many subscriptions and purchases stay, because a receipt of
	// another customer shows them too.
	Kept int64 `json:"kept"`
}

// Forget removes the receipts of a customer and everything derived from them,
// in one transaction; of one app, or of all where bundleID is empty. A receipt
// that a worker checks now is removed as well: its claim goes with it, so that
// a late result changes nothing. Receipts of others that these cover are planned by
// themselves, by the policies of their apps.
func (db *DB) Forget(ctx context.Context, customerRef, bundleID string, policies func(bundleID string) iap.Policy, now time.Time) (f Forgotten, err error) {
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		f = Forgotten{}
		return f.forget(ctx, tx, customerRef, bundleID, policies, now)
	})
	if err != nil {
		return Forgotten{}, fmt.Errorf("forget customer: %w", err)
	}
	return f, nil
}

// forget takes the customer out of the filters of backfills, where one was named
// (one that still chooses gets a name that nobody has, because without any it would
// choose everybody), and locks before it looks: receipts first, then what they show, in the
// order in which results are stored. From then on no result of these receipts
// can be stored, and no other receipt can be linked to what is about to go.
func (f *Forgotten) forget(ctx context.Context, tx *sqlx.Tx, customerRef, bundleID string, policies func(bundleID string) iap.Policy, now time.Time) error {
	const lockReceipts = `
		SELECT id, bundle_id FROM receipts WHERE customer_ref = $1 AND ($2 = '' OR bundle_id = $2) ORDER BY id FOR UPDATE`
	const leaveFilters = `
		UPDATE runs SET filter = jsonb_set(filter, '{customers}', (filter->'customers') - $1),
			choice = jsonb_set(choice, '{customers}', (choice->'customers') - $1 || '[""]')
		WHERE filter->'customers' ? $1`
	if _, err := tx.ExecContext(ctx, leaveFilters, customerRef); err != nil {
		return err
	}
	var receipts []struct {
		ID       int64  `db:"id"`
		BundleID string `db:"bundle_id"`
	}
	if err := tx.SelectContext(ctx, &receipts, lockReceipts, customerRef, bundleID); err != nil {
		return err
	}
	if len(receipts) == 0 {
		return nil
	}
	ids, apps := make([]int64, len(receipts)), make(map[int64]string, len(receipts))
	for i, r := range receipts {
		ids[i], apps[r.ID] = r.ID, r.BundleID
	}
	left, err := leftUnchecked(ctx, tx, ids)
	if err != nil {
		return err
	}
	if err := leaveRuns(ctx, tx, ids); err != nil {
		return err
	}
	var shown int64
	for _, s := range []step{
		{lockShown, &shown},
		{lockBought, &shown},
		{deleteSubscriptionEvents, &f.Events},
		{deletePurchaseEvents, &f.Events},
		{countLinks, &f.Links},
		{deleteSubscriptions, &f.Subscriptions},
		{handPurchasesOver, new(int64)},
		{deletePurchases, &f.Purchases},
		{deleteRunItems, &f.RunItems},
		{deleteData, &f.Bytes},
		// Last: the links, and whatever else hangs on a receipt, go with it.
		{deleteReceipts, &f.Receipts},
	} {
		var n int64
		if err := tx.GetContext(ctx, &n, s.query, pq.Array(ids)); err != nil {
			return err
		}
		*s.count += n
	}
	f.Kept = shown - f.Subscriptions - f.Purchases
	covered, err := coveredBy(ctx, tx, ids)
	if err != nil {
		return err
	}
	for id, others := range covered {
		if err := planAlone(ctx, tx, others, policies(apps[id]), now); err != nil {
			return err
		}
	}
	return left.plan(ctx, tx, policies, now)
}

// leaveRuns counts receipts that are about to go as released by the runs that they
// are in.
func leaveRuns(ctx context.Context, tx *sqlx.Tx, ids []int64) error {
	const query = `
		SELECT run_id, bundle_id, claimed, count(*) AS n FROM (
			SELECT run_id, bundle_id, claimed_until IS NOT NULL AS claimed FROM receipts WHERE id = ANY($1) AND run_id IS NOT NULL
			UNION ALL
			SELECT i.run_id, i.bundle_id, false FROM receipts r JOIN run_items i ON i.receipt_id = r.id AND i.bundle_id = r.bundle_id
			WHERE r.id = ANY($1) AND i.run_id IN (SELECT id FROM runs WHERE kind = 'backfill')
		) l GROUP BY run_id, bundle_id, claimed`
	var rows []struct {
		left
		Claimed bool `db:"claimed"`
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return fmt.Errorf("find the runs of receipts: %w", err)
	}
	var runs []int64
	for _, r := range rows {
		runs = append(runs, r.RunID)
	}
	goOn, err := live(ctx, tx, runs)
	if err != nil {
		return err
	}
	var leaving []left
	for _, r := range rows {
		if goOn[r.RunID] || r.Claimed { // else it was released when the run ended
			leaving = append(leaving, r.left)
		}
	}
	return countReleased(ctx, tx, leaving)
}

// step is one statement over the receipts $1, and where the number that it
// returns is added.
type step struct {
	query string
	count *int64
}

// onlyHere are subscriptions s that no other receipt shows.
const onlyHere = `
	(s.bundle_id, s.environment, s.original_transaction_id) IN (
		SELECT bundle_id, environment, original_transaction_id FROM receipt_subscriptions WHERE receipt_id = ANY($1))
	AND NOT EXISTS (
		SELECT 1 FROM receipt_subscriptions l
		WHERE l.original_transaction_id = s.original_transaction_id AND l.bundle_id = s.bundle_id
		  AND l.environment = s.environment AND l.receipt_id <> ALL($1))`

// otherWitness is the first receipt left that showed a purchase p too.
const otherWitness = `
	SELECT r.id FROM receipts r
	WHERE (r.id = p.first_receipt_id OR r.id = ANY(p.shown_by)) AND r.id <> ALL($1) ORDER BY r.id LIMIT 1`

const (
	lockShown = `
		WITH locked AS (
			SELECT 1 FROM subscriptions s
			WHERE (s.bundle_id, s.environment, s.original_transaction_id) IN (
				SELECT bundle_id, environment, original_transaction_id FROM receipt_subscriptions WHERE receipt_id = ANY($1))
			ORDER BY s.bundle_id, s.environment, s.original_transaction_id FOR UPDATE)
		SELECT count(*) FROM locked`
	lockBought = `
		WITH locked AS (
			SELECT 1 FROM purchases WHERE receipt_id = ANY($1)
			ORDER BY bundle_id, environment, transaction_id FOR UPDATE)
		SELECT count(*) FROM locked`
	deleteSubscriptionEvents = `
		WITH gone AS (
			DELETE FROM subscription_events e USING subscriptions s
			WHERE e.original_transaction_id = s.original_transaction_id AND e.bundle_id = s.bundle_id
			  AND e.environment = s.environment AND ` + onlyHere + ` RETURNING 1)
		SELECT count(*) FROM gone`
	deletePurchaseEvents = `
		WITH gone AS (
			DELETE FROM subscription_events v USING purchases p
			WHERE p.receipt_id = ANY($1) AND NOT EXISTS (` + otherWitness + `)
			  AND v.original_transaction_id = p.original_transaction_id AND v.bundle_id = p.bundle_id
			  AND v.environment = p.environment AND v.transaction_id = p.transaction_id RETURNING 1)
		SELECT count(*) FROM gone`
	countLinks          = `SELECT count(*) FROM receipt_subscriptions WHERE receipt_id = ANY($1)`
	deleteSubscriptions = `
		WITH gone AS (DELETE FROM subscriptions s WHERE ` + onlyHere + ` RETURNING 1)
		SELECT count(*) FROM gone`
	handPurchasesOver = `
		WITH kept AS (
			UPDATE purchases p SET receipt_id = (` + otherWitness + `)
			WHERE p.receipt_id = ANY($1) AND EXISTS (` + otherWitness + `) RETURNING 1)
		SELECT count(*) FROM kept`
	deletePurchases = `
		WITH gone AS (DELETE FROM purchases WHERE receipt_id = ANY($1) RETURNING 1)
		SELECT count(*) FROM gone`
	deleteRunItems = `
		WITH gone AS (
			DELETE FROM run_items i USING receipts r
			WHERE r.id = ANY($1) AND i.receipt_id = r.id AND i.bundle_id = r.bundle_id
			  AND i.run_id IN (SELECT id FROM runs WHERE kind = 'backfill') RETURNING 1)
		SELECT count(*) FROM gone`
	deleteData = `
		WITH gone AS (DELETE FROM receipt_data WHERE receipt_id = ANY($1) RETURNING octet_length(data) AS n)
		SELECT coalesce(sum(n), 0)::bigint FROM gone`
	deleteReceipts = `
		WITH gone AS (DELETE FROM receipts WHERE id = ANY($1) RETURNING 1)
		SELECT count(*) FROM gone`
)
