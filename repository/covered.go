package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// A customer hands in many receipts of one subscription. One of them is checked: a
// receipt rests while another one, that is healthy and of no less reach, shows all
// that it shows. It always has a date, two days after the next check of the other
// one, and is checked then unless that has brought fresh rows.
//
// Who covers whom is decided while the rows that both show are locked, and nothing
// covers that is itself covered, so that no two cover each other. Receipts are not
// locked for it: a save holds its own before it comes to their rows.

// coverer is a receipt that others may be covered by.
type coverer struct {
	ID          int64           `db:"id"`
	Kind        iap.ReceiptKind `db:"kind"`
	Shows       int             `db:"shows"`
	NextCheckAt time.Time       `db:"next_check_at"`
}

// before orders receipts: who covers comes before who is covered. What shows more
// comes first, and of those that show the same the one of more reach, then the one
// that came in first, so that a new receipt of a customer rests from its first check.
func (c coverer) before(other coverer) bool {
	return cmp.Or(cmp.Compare(other.Shows, c.Shows), cmp.Compare(other.Kind.Reach(), c.Kind.Reach()), cmp.Compare(c.ID, other.ID)) < 0
}

// mostPeers bounds how many receipts of one subscription are read.
const mostPeers = 64

// cover lets receipts rest, from their next check that was just planned, where
// another one covers them. linked are the subscriptions that they showed before, and
// bought the rows of their purchases.
func cover(ctx context.Context, tx *sqlx.Tx, told []conclusion, linked map[int64][]iap.SubscriptionKey, bought map[purchaseKey]purchaseRow) error {
	peers, err := peersOf(ctx, tx, told, linked, bought)
	if err != nil || len(peers) == 0 {
		return err
	}
	kinds, err := kindsOf(ctx, tx, told)
	if err != nil {
		return err
	}
	self := func(o conclusion) coverer {
		return coverer{o.ReceiptID, kinds[o.ReceiptID], o.Shows, o.NextCheck.At}
	}
	here := make(map[int64]conclusion, len(told))
	for _, o := range told {
		here[o.ReceiptID] = o
	}
	ordered := slices.SortedFunc(slices.Values(told), func(a, b conclusion) int {
		if self(a).before(self(b)) {
			return -1
		}
		return 1
	})
	for _, o := range ordered {
		if !o.canRest() {
			continue
		}
		for _, c := range peers[o.ReceiptID] {
			if with, saved := here[c.ID]; saved {
				// What is stored of it is about to change.
				if c = self(with); !with.canCover() {
					continue
				}
			}
			if c.Kind.Reach() >= kinds[o.ReceiptID].Reach() && c.before(self(o)) && !c.NextCheckAt.IsZero() {
				o.CoveredBy, o.NextCheck = c.ID, iap.Covered(c.NextCheckAt, o.At)
				break
			}
		}
	}
	return nil
}

// canRest reports whether a receipt may be covered: it shows something, and the
// reply showed all of it.
func (o conclusion) canRest() bool {
	return o.Shows > 0 && o.Failure == "" && len(o.Conclusion.Undated) == 0 && !o.NextCheck.At.IsZero()
}

func (o conclusion) canCover() bool { return o.Failure == "" && o.CoveredBy == 0 }

// healthy is a receipt c that may cover others.
const healthy = `c.state = 'valid' AND c.last_error IS NULL AND c.covered_by IS NULL AND c.next_check_at IS NOT NULL`

// never is the zero time of Go, which lib/pq reads as such; '-infinity' it does not
// read into a time.
const never = `'0001-01-01 00:00:00Z'::timestamptz`

// peersOf are, by receipt, the others that show all that it shows: healthy ones, and
// those of the same save, of which that is not known yet. They are in no order.
func peersOf(ctx context.Context, tx *sqlx.Tx, told []conclusion, linked map[int64][]iap.SubscriptionKey, bought map[purchaseKey]purchaseRow) (map[int64][]coverer, error) {
	const query = `
		SELECT r.id AS receipt_id, c.id, c.kind, c.shows, coalesce(c.next_check_at, ` + never + `) AS next_check_at
		FROM unnest($1::bigint[], $2::bigint[]) AS r(id, other)
		JOIN receipts c ON c.id = r.other
		WHERE (c.id = ANY($3) OR ` + healthy + `)
		  AND NOT EXISTS (
			SELECT 1 FROM receipt_subscriptions l
			WHERE l.receipt_id = r.id AND NOT EXISTS (
				SELECT 1 FROM receipt_subscriptions p
				WHERE p.receipt_id = c.id AND p.environment = l.environment AND p.original_transaction_id = l.original_transaction_id))`
	peers := make(map[int64][]coverer)
	ids, others, err := sharers(ctx, tx, told, linked)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 {
		var rows []struct {
			ReceiptID int64 `db:"receipt_id"`
			coverer
		}
		if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids), pq.Array(others), pq.Array(receiptIDs(told))); err != nil {
			return nil, fmt.Errorf("find receipts that show the same: %w", err)
		}
		for _, r := range rows {
			peers[r.ReceiptID] = append(peers[r.ReceiptID], r.coverer)
		}
	}
	if err := addPurchasePeers(ctx, tx, told, bought, peers); err != nil {
		return nil, err
	}
	return peers, nil
}

// sharers are, side by side, receipts and others that show one of the subscriptions
// that they show. Most receipts share none, and are done with here.
func sharers(ctx context.Context, tx *sqlx.Tx, told []conclusion, linked map[int64][]iap.SubscriptionKey) (ids, others []int64, err error) {
	const query = `
		SELECT r.id, o.receipt_id AS other
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS r(id, bundle_id, environment, original_transaction_id)
		CROSS JOIN LATERAL (
			SELECT receipt_id FROM receipt_subscriptions o
			WHERE o.original_transaction_id = r.original_transaction_id AND o.bundle_id = r.bundle_id
			  AND o.environment = r.environment AND o.receipt_id <> r.id
			ORDER BY receipt_id LIMIT $5) o`
	var receipts []int64
	var bundles, environments, originals []string
	for _, o := range told {
		if keys := o.keys(linked[o.ReceiptID]); len(keys) > 0 {
			receipts, bundles = append(receipts, o.ReceiptID), append(bundles, keys[0].BundleID)
			environments, originals = append(environments, string(keys[0].Environment)), append(originals, keys[0].OriginalTransactionID)
		}
	}
	if len(receipts) == 0 {
		return nil, nil, nil
	}
	var rows []struct {
		ID    int64 `db:"id"`
		Other int64 `db:"other"`
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(receipts), pq.Array(bundles), pq.Array(environments), pq.Array(originals), mostPeers); err != nil {
		return nil, nil, fmt.Errorf("find receipts of the same subscriptions: %w", err)
	}
	for _, r := range rows {
		ids, others = append(ids, r.ID), append(others, r.Other)
	}
	return ids, others, nil
}

// addPurchasePeers leaves out peers that do not show every purchase of a receipt, and
// finds those of receipts that show purchases only.
func addPurchasePeers(ctx context.Context, tx *sqlx.Tx, told []conclusion, bought map[purchaseKey]purchaseRow, peers map[int64][]coverer) error {
	const query = `
		SELECT c.id, c.kind, c.shows, coalesce(c.next_check_at, ` + never + `) AS next_check_at
		FROM receipts c WHERE c.id = ANY($1) AND (c.id = ANY($2) OR ` + healthy + `)`
	wanted := make(map[int64][]int64) // by peer, the receipts with purchases only
	for _, o := range told {
		if len(o.Conclusion.Purchases) == 0 {
			continue
		}
		shown := o.shownBy(bought)
		if len(o.Conclusion.Subscriptions) > 0 {
			peers[o.ReceiptID] = slices.DeleteFunc(peers[o.ReceiptID], func(c coverer) bool { return !slices.Contains(shown, c.ID) })
			continue
		}
		for _, id := range shown {
			if id != o.ReceiptID {
				wanted[id] = append(wanted[id], o.ReceiptID)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var found []coverer
	if err := tx.SelectContext(ctx, &found, query, pq.Array(keysOf(wanted)), pq.Array(receiptIDs(told))); err != nil {
		return fmt.Errorf("find receipts that show the same purchases: %w", err)
	}
	for _, c := range found {
		for _, id := range wanted[c.ID] {
			peers[id] = append(peers[id], c)
		}
	}
	return nil
}

// shownBy are the receipts that show every purchase of a receipt.
func (o conclusion) shownBy(bought map[purchaseKey]purchaseRow) []int64 {
	var all []int64
	for i, p := range o.Conclusion.Purchases {
		by := bought[purchases().key(purchaseRow{Purchase: p})].ShownBy
		if i == 0 {
			all = slices.Clone(by)
			continue
		}
		all = slices.DeleteFunc(all, func(id int64) bool { return !slices.Contains(by, id) })
	}
	return all
}

func kindsOf(ctx context.Context, tx *sqlx.Tx, told []conclusion) (map[int64]iap.ReceiptKind, error) {
	const query = `SELECT id, kind FROM receipts WHERE id = ANY($1)`
	var rows []coverer
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(receiptIDs(told))); err != nil {
		return nil, fmt.Errorf("read kinds of receipts: %w", err)
	}
	kinds := make(map[int64]iap.ReceiptKind, len(rows))
	for _, r := range rows {
		kinds[r.ID] = r.Kind
	}
	return kinds, nil
}

func keysOf[V any](m map[int64]V) []int64 {
	ids := make([]int64, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	return ids
}

// rest lets receipts rest again that were due, and that need not be checked because
// the one that covers them was. Where that one is not healthy any more, by this save
// too, or is being saved by somebody else, they are planned by themselves.
func rest(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) error {
	const query = `
		SELECT r.id AS receipt_id, c.id, c.kind, c.shows, c.next_check_at
		FROM receipts r JOIN receipts c ON c.id = r.covered_by
		WHERE r.id = ANY($1) AND ` + healthy + `
		FOR SHARE OF c SKIP LOCKED`
	here := make(map[int64]claim.Outcome)
	resting := make(map[int64]*claim.Outcome)
	for i, o := range stored {
		if o.Rests {
			resting[o.ReceiptID] = &stored[i]
		}
		if o.Asked {
			here[o.ReceiptID] = o
		}
	}
	if len(resting) == 0 {
		return nil
	}
	var rows []struct {
		ReceiptID int64 `db:"receipt_id"`
		coverer
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(keysOf(resting))); err != nil {
		return fmt.Errorf("read receipts that cover others: %w", err)
	}
	for _, r := range rows {
		o := resting[r.ReceiptID]
		if with, saved := here[r.ID]; saved {
			if endsCovering(with) {
				continue
			}
			r.NextCheckAt = with.NextCheck.At
		}
		o.CoveredBy, o.NextCheck = r.ID, iap.Covered(r.NextCheckAt, o.At)
		delete(resting, r.ReceiptID)
	}
	for id, o := range resting {
		next, err := planned(ctx, tx, []int64{id}, *o.Policy, o.At)
		if err != nil {
			return err
		}
		o.NextCheck = next[id]
	}
	return nil
}

// uncover plans receipts by themselves whose covering one failed its check, is
// covered itself now, or has no next check. Those that somebody else has locked are
// being saved, and find out there.
func uncover(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) error {
	by := make(map[int64]claim.Outcome)
	for _, o := range stored {
		if o.Asked && endsCovering(o) {
			by[o.ReceiptID] = o
		}
	}
	if len(by) == 0 {
		return nil
	}
	covered, err := coveredBy(ctx, tx, keysOf(by))
	if err != nil {
		return err
	}
	for id, ids := range covered {
		if err := planAlone(ctx, tx, ids, *by[id].Policy, by[id].At); err != nil {
			return err
		}
	}
	return nil
}

// endsCovering reports whether a receipt that was asked about covers others no more.
func endsCovering(o claim.Outcome) bool {
	return o.Failure != "" || o.CoveredBy != 0 || o.NextCheck.At.IsZero()
}

// coveredBy are the receipts that others cover, by those, locked.
func coveredBy(ctx context.Context, tx *sqlx.Tx, ids []int64) (map[int64][]int64, error) {
	const query = `
		SELECT id, covered_by FROM receipts WHERE covered_by = ANY($1) AND claimed_until IS NULL
		ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`
	var rows []struct {
		ID        int64 `db:"id"`
		CoveredBy int64 `db:"covered_by"`
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return nil, fmt.Errorf("lock covered receipts: %w", err)
	}
	covered := make(map[int64][]int64)
	for _, r := range rows {
		covered[r.CoveredBy] = append(covered[r.CoveredBy], r.ID)
	}
	return covered, nil
}

// plannedTogether is of how many receipts the rows are in memory at a time.
const plannedTogether = 8

// planAlone gives receipts next checks of their own. What is due, or waits in a run,
// stays so: it is checked without the one that covered it.
func planAlone(ctx context.Context, tx *sqlx.Tx, ids []int64, policy iap.Policy, now time.Time) error {
	const query = `
		UPDATE receipts r SET covered_by = NULL,
			next_check_at = CASE WHEN o.stays THEN r.next_check_at ELSE o.next_check_at END,
			next_check_rule = CASE WHEN o.stays AND r.next_check_rule <> 'covered' THEN r.next_check_rule ELSE o.next_check_rule END
		FROM (
			SELECT o.*, d.run_id IS NOT NULL OR coalesce(d.next_check_at <= $2, false) AS stays
			FROM json_to_recordset($1) AS o(receipt_id bigint, next_check_at timestamptz, next_check_rule text)
			JOIN receipts d ON d.id = o.receipt_id) o
		WHERE r.id = o.receipt_id`
	rows := make([]outcomeRow, 0, len(ids))
	for few := range slices.Chunk(ids, plannedTogether) {
		next, err := planned(ctx, tx, few, policy, now)
		if err != nil {
			return err
		}
		for id, check := range next {
			rows = append(rows, outcomeRow{ReceiptID: id, NextCheckAt: check.At, NextCheckRule: check.Rule})
		}
	}
	if err := execJSON(ctx, tx, query, rows, now); err != nil {
		return fmt.Errorf("plan receipts by themselves: %w", err)
	}
	return nil
}

// aloneAfter is how long after it is planned by itself a receipt is due that should
// have been checked before: not in the run that goes on, which counted what was due
// when it was opened.
const aloneAfter = time.Minute

// planned plans receipts from the stored rows that they show.
func planned(ctx context.Context, tx *sqlx.Tx, ids []int64, policy iap.Policy, now time.Time) (map[int64]iap.Check, error) {
	subscriptionQuery := `
		SELECT l.receipt_id, row_to_json(s) AS row FROM receipt_subscriptions l CROSS JOIN LATERAL (
			SELECT ` + subscriptions().columns + ` FROM subscriptions s
			WHERE s.bundle_id = l.bundle_id AND s.environment = l.environment AND s.original_transaction_id = l.original_transaction_id) s
		WHERE l.receipt_id = ANY($1)`
	purchaseQuery := `
		SELECT r.id AS receipt_id, row_to_json(p) AS row FROM receipts r CROSS JOIN LATERAL (
			SELECT ` + purchases().columns + ` FROM purchases
			WHERE receipt_id = r.id OR receipt_id = r.covered_by AND r.id = ANY(shown_by)) p
		WHERE r.id = ANY($1)`
	shown := make(map[int64]iap.Conclusion, len(ids))
	for _, id := range ids {
		shown[id] = iap.Conclusion{AsOf: now}
	}
	err := eachShown(ctx, tx, subscriptionQuery, ids, func(id int64, s iap.Subscription) {
		c := shown[id]
		c.Subscriptions = append(c.Subscriptions, s)
		shown[id] = c
	})
	if err != nil {
		return nil, err
	}
	err = eachShown(ctx, tx, purchaseQuery, ids, func(id int64, p purchaseRow) {
		c := shown[id]
		c.Purchases = append(c.Purchases, p.Purchase)
		shown[id] = c
	})
	if err != nil {
		return nil, err
	}
	next := make(map[int64]iap.Check, len(ids))
	for id, c := range shown {
		next[id] = policy.PlanAfter(c, iap.Brought{News: true}, now, aloneAfter, id)
	}
	return next, nil
}

// eachShown reads the rows that receipts show.
func eachShown[T any](ctx context.Context, tx *sqlx.Tx, query string, ids []int64, each func(receiptID int64, row T)) error {
	var rows []struct {
		ReceiptID int64  `db:"receipt_id"`
		Row       string `db:"row"`
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return fmt.Errorf("read what receipts show: %w", err)
	}
	for _, r := range rows {
		var row T
		if err := json.Unmarshal([]byte(r.Row), &row); err != nil {
			return fmt.Errorf("read what receipts show: %w", err)
		}
		each(r.ReceiptID, row)
	}
	return nil
}
