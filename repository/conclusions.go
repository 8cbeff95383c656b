package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// purchaseRow is a purchase with the last and the first receipt that showed it, and
// all of them up to mostShownBy.
type purchaseRow struct {
	iap.Purchase
	ReceiptID      int64   `json:"receipt_id"`
	FirstReceiptID int64   `json:"first_receipt_id"`
	ShownBy        []int64 `json:"shown_by"`
}

// mostShownBy bounds what a purchase remembers of receipts that show it. One that
// is not remembered is never taken to show it.
const mostShownBy = 64

type purchaseKey struct {
	bundleID      string
	environment   iap.Environment
	transactionID string
}

func subscriptions() table[iap.Subscription, iap.SubscriptionKey] {
	return table[iap.Subscription, iap.SubscriptionKey]{
		name: "subscriptions",
		columns: `bundle_id, environment, original_transaction_id, status, product_id,
			subscription_group_identifier, transaction_id, web_order_line_item_id, purchase_date, expires_date, original_purchase_date,
			grace_period_expires_date, is_in_billing_retry_period, expiration_intent, auto_renew_status,
			auto_renew_product_id, offer_type, offer_id, is_trial_period, in_app_ownership_type,
			price_consent_status, price_increase_status, app_account_token, revocation_date, revocation_reason,
			revocations, is_upgraded, unshown_replies, unshown_at, as_of, period_as_of, renewal_as_of, grace_as_of,
			offer_as_of, revocations_as_of`,
		key: iap.Subscription.Key,
		less: func(a, b iap.SubscriptionKey) int {
			return cmp.Or(cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.Environment, b.Environment),
				cmp.Compare(a.OriginalTransactionID, b.OriginalTransactionID))
		},
		keyed:   func(k iap.SubscriptionKey) iap.Subscription { return iap.Subscription{SubscriptionKey: k} },
		asOf:    func(s iap.Subscription) time.Time { return s.AsOf },
		shown:   func(s iap.Subscription) bool { return s.Tells != 0 },
		merge:   iap.Merge,
		changes: iap.Changes,
		event: func(before *iap.Subscription, s iap.Subscription) event {
			e := event{BundleID: s.BundleID, Environment: s.Environment, OriginalTransactionID: s.OriginalTransactionID, AsOf: s.AsOf}
			if before != nil && iap.NoLongerShown(*before, s) {
				e.Evidence = noLongerShown
			}
			return e
		},
	}
}

func purchases() table[purchaseRow, purchaseKey] {
	return table[purchaseRow, purchaseKey]{
		name: "purchases",
		columns: `bundle_id, environment, transaction_id, original_transaction_id, product_id, purchase_date,
			quantity, in_app_ownership_type, revocation_date, revocation_reason, unrevoked_since, as_of, receipt_id,
			first_receipt_id, shown_by`,
		key: func(p purchaseRow) purchaseKey { return purchaseKey{p.BundleID, p.Environment, p.TransactionID} },
		less: func(a, b purchaseKey) int {
			return cmp.Or(cmp.Compare(a.bundleID, b.bundleID), cmp.Compare(a.environment, b.environment),
				cmp.Compare(a.transactionID, b.transactionID))
		},
		keyed: func(k purchaseKey) purchaseRow {
			return purchaseRow{Purchase: iap.Purchase{BundleID: k.bundleID, Environment: k.environment, TransactionID: k.transactionID}}
		},
		asOf:  func(p purchaseRow) time.Time { return p.AsOf },
		shown: func(purchaseRow) bool { return true },
		merge: func(before, facts purchaseRow) (purchaseRow, iap.Progress) {
			p, progress := iap.MergePurchase(before.Purchase, facts.Purchase)
			if slices.Contains(before.ShownBy, facts.ReceiptID) || len(before.ShownBy) == mostShownBy {
				facts.ShownBy = before.ShownBy
			} else {
				// That it shows it is news of the receipt, also where its reply is no newer.
				facts.ShownBy, progress = append(slices.Clone(before.ShownBy), facts.ReceiptID), iap.ProgressMerged
			}
			last := facts.ReceiptID
			if !facts.AsOf.After(before.AsOf) {
				last = before.ReceiptID
			}
			return purchaseRow{p, last, cmp.Or(before.FirstReceiptID, facts.FirstReceiptID), facts.ShownBy}, progress
		},
		changes: func(before *purchaseRow, after purchaseRow, importedAt time.Time) []iap.Change {
			if before == nil {
				return iap.PurchaseChanges(nil, after.Purchase, importedAt)
			}
			return iap.PurchaseChanges(&before.Purchase, after.Purchase, importedAt)
		},
		event: func(_ *purchaseRow, p purchaseRow) event {
			return event{BundleID: p.BundleID, Environment: p.Environment, OriginalTransactionID: p.OriginalTransactionID, AsOf: p.AsOf}
		},
	}
}

// mergeConclusions merges what outcomes conclude with the rows that are stored, and
// plans the next check of each receipt from everything that it shows, stored or told
// now. It returns an event for each change.
func mergeConclusions(ctx context.Context, tx *sqlx.Tx, outcomes []claim.Outcome) ([]event, error) {
	told := concluded(outcomes)
	if len(told) == 0 {
		return nil, nil
	}
	now := told[len(told)-1].At
	linked, err := linkedSubscriptions(ctx, tx, told)
	if err != nil {
		return nil, err
	}
	states, links := subscriptionFacts(told, linked)
	subscribed, err := subscriptions().forward(ctx, tx, states, slices.Concat(slices.Collect(maps.Values(linked))...), now)
	if err != nil {
		return nil, err
	}
	bought, err := purchases().forward(ctx, tx, purchaseFacts(told), nil, now)
	if err != nil {
		return nil, err
	}
	if err := linkReceipts(ctx, tx, links); err != nil {
		return nil, err
	}
	watched, err := watchedPurchases(ctx, tx, told)
	if err != nil {
		return nil, err
	}
	for _, o := range told {
		o.plan(subscribed, bought, linked[o.ReceiptID], watched[o.ReceiptID])
	}
	if err := cover(ctx, tx, told, linked, bought.rows); err != nil {
		return nil, err
	}
	return slices.Concat(subscribed.events, bought.events), nil
}

// conclusion is an outcome with a conclusion.
type conclusion struct{ *claim.Outcome }

func concluded(outcomes []claim.Outcome) (told []conclusion) {
	for i := range outcomes {
		if outcomes[i].Conclusion != nil {
			told = append(told, conclusion{&outcomes[i]})
		}
	}
	return told
}

func (o conclusion) reply() reply { return reply{o.ReceiptID, o.Generation, o.RunID, o.ImportedAt} }

// subscriptionFacts are what replies show of subscriptions, and that they do not
// show others that their receipts showed before, in whichever environment. What a reply shows without a date
// it shows, and tells nothing of. links are those that are new.
func subscriptionFacts(told []conclusion, linked map[int64][]iap.SubscriptionKey) (facts []fact[iap.Subscription], links []receiptSubscription) {
	for _, o := range told {
		shown, known := setOf(o.undated()), setOf(linked[o.ReceiptID])
		for _, s := range o.Conclusion.Subscriptions {
			shown[s.SubscriptionKey] = true
			facts = append(facts, fact[iap.Subscription]{s, o.reply()})
			if !known[s.SubscriptionKey] {
				links = append(links, receiptSubscription{o.ReceiptID, s.SubscriptionKey})
			}
		}
		for _, k := range linked[o.ReceiptID] {
			if !shown[k] {
				facts = append(facts, fact[iap.Subscription]{iap.Subscription{SubscriptionKey: k, AsOf: o.Conclusion.AsOf}, o.reply()})
			}
		}
	}
	return facts, links
}

func purchaseFacts(told []conclusion) (facts []fact[purchaseRow]) {
	for _, o := range told {
		for _, p := range o.Conclusion.Purchases {
			facts = append(facts, fact[purchaseRow]{purchaseRow{p, o.ReceiptID, o.ReceiptID, []int64{o.ReceiptID}}, o.reply()})
		}
	}
	return facts
}

// plan sets the next check of an outcome, and its class where the reply shows less
// than is stored.
func (o conclusion) plan(subscribed merged[iap.Subscription, iap.SubscriptionKey], bought merged[purchaseRow, purchaseKey],
	linked []iap.SubscriptionKey, watched []iap.Purchase,
) {
	less, undated := setOf(subscribed.less[o.ReceiptID]), setOf(o.undated())
	rows := iap.Conclusion{AsOf: o.Conclusion.AsOf, Undated: o.Conclusion.Undated, Purchases: watched}
	known := len(watched)
	for _, k := range o.keys(linked) {
		known++
		if !less[k] && !undated[k] {
			rows.Subscriptions = append(rows.Subscriptions, subscribed.rows[k])
		}
	}
	for _, p := range o.Conclusion.Purchases {
		known++
		rows.Purchases = append(rows.Purchases, bought.rows[purchases().key(purchaseRow{Purchase: p})].Purchase)
	}
	brought := iap.Brought{
		News:      known == 0 || subscribed.news[o.ReceiptID] || bought.news[o.ReceiptID],
		ShowsLess: len(less) > 0,
	}
	if brought.ShowsLess {
		o.Failure = claim.ClassShowsLess
	}
	o.News = brought.News && !brought.ShowsLess
	o.Shows = len(o.Conclusion.Subscriptions) + len(o.Conclusion.Purchases)
	o.NextCheck = o.Policy.PlanAfter(rows, brought, o.At, o.Backoff, o.ReceiptID)
}

// undated are the subscriptions that the reply shows without telling anything of them.
func (o conclusion) undated() []iap.SubscriptionKey {
	keys := make([]iap.SubscriptionKey, len(o.Conclusion.Undated))
	for i, id := range o.Conclusion.Undated {
		keys[i] = iap.SubscriptionKey{BundleID: o.BundleID, Environment: o.Environment, OriginalTransactionID: id}
	}
	return keys
}

// keys are the subscriptions that a receipt shows, stored or told now, each once.
func (o conclusion) keys(linked []iap.SubscriptionKey) []iap.SubscriptionKey {
	all, known := slices.Clone(linked), setOf(linked)
	for _, s := range o.Conclusion.Subscriptions {
		if !known[s.SubscriptionKey] {
			all = append(all, s.SubscriptionKey)
		}
	}
	return all
}

func setOf[K comparable](all []K) map[K]bool {
	set := make(map[K]bool, len(all))
	for _, k := range all {
		set[k] = true
	}
	return set
}

// linkedSubscriptions are those that the receipts of outcomes showed before.
func linkedSubscriptions(ctx context.Context, tx *sqlx.Tx, told []conclusion) (map[int64][]iap.SubscriptionKey, error) {
	const query = `
		SELECT receipt_id, bundle_id, environment, original_transaction_id
		FROM receipt_subscriptions WHERE receipt_id = ANY($1) LIMIT $2`
	var links []struct {
		ReceiptID             int64           `db:"receipt_id"`
		BundleID              string          `db:"bundle_id"`
		Environment           iap.Environment `db:"environment"`
		OriginalTransactionID string          `db:"original_transaction_id"`
	}
	if err := tx.SelectContext(ctx, &links, query, pq.Array(receiptIDs(told)), shownLimit(told)); err != nil {
		return nil, fmt.Errorf("read what receipts show: %w", err)
	}
	if err := checkShown(told, len(links)); err != nil {
		return nil, err
	}
	linked := make(map[int64][]iap.SubscriptionKey)
	for _, l := range links {
		linked[l.ReceiptID] = append(linked[l.ReceiptID], iap.SubscriptionKey{
			BundleID: l.BundleID, Environment: l.Environment, OriginalTransactionID: l.OriginalTransactionID,
		})
	}
	return linked, nil
}

// watchedPurchases are the stored purchases of receipts that Plan may still want to
// check, and that the replies do not show.
func watchedPurchases(ctx context.Context, tx *sqlx.Tx, told []conclusion) (map[int64][]iap.Purchase, error) {
	query := `
		SELECT row_to_json(p) FROM (
			SELECT ` + purchases().columns + ` FROM purchases
			WHERE receipt_id = ANY($1) AND (purchase_date > $2 OR revocation_date > $3 OR unrevoked_since IS NOT NULL)
			LIMIT $4) p`
	var bought, revoked time.Time
	shown := make(map[purchaseKey]bool)
	for i, o := range told {
		b, r := o.At.Add(-o.Policy.PurchaseFor), o.At.Add(-o.Policy.ReversalFor)
		if i == 0 || b.Before(bought) {
			bought = b
		}
		if i == 0 || r.Before(revoked) {
			revoked = r
		}
		for _, p := range o.Conclusion.Purchases {
			shown[purchases().key(purchaseRow{Purchase: p})] = true
		}
	}
	var documents []string
	if err := tx.SelectContext(ctx, &documents, query, pq.Array(receiptIDs(told)), bought, revoked, shownLimit(told)); err != nil {
		return nil, fmt.Errorf("read purchases of receipts: %w", err)
	}
	if err := checkShown(told, len(documents)); err != nil {
		return nil, err
	}
	watched := make(map[int64][]iap.Purchase)
	for _, d := range documents {
		var row purchaseRow
		if err := json.Unmarshal([]byte(d), &row); err != nil {
			return nil, fmt.Errorf("read purchases of receipts: %w", err)
		}
		if !shown[purchases().key(row)] {
			watched[row.ReceiptID] = append(watched[row.ReceiptID], row.Purchase)
		}
	}
	return watched, nil
}

// mostShown is how many stored rows the receipts of a batch may show, unless there
// is one alone: they are read and locked together, and nothing else bounds them.
const mostShown = 4000

// shownLimit is how many of them are read; nil is all.
func shownLimit(told []conclusion) any {
	if len(told) == 1 {
		return nil
	}
	return mostShown + 1
}

func checkShown(told []conclusion, rows int) error {
	if len(told) > 1 && rows > mostShown {
		return database.ErrTooMuch
	}
	return nil
}

func receiptIDs(told []conclusion) []int64 {
	ids := make([]int64, len(told))
	for i, o := range told {
		ids[i] = o.ReceiptID
	}
	return ids
}

// receiptSubscription is a row of receipt_subscriptions.
type receiptSubscription struct {
	ReceiptID int64 `json:"receipt_id"`
	iap.SubscriptionKey
}

func linkReceipts(ctx context.Context, tx *sqlx.Tx, links []receiptSubscription) error {
	const query = `
		INSERT INTO receipt_subscriptions (receipt_id, bundle_id, environment, original_transaction_id)
		SELECT receipt_id, bundle_id, environment, original_transaction_id
		FROM json_populate_recordset(NULL::receipt_subscriptions, $1)
		ON CONFLICT DO NOTHING`
	if err := execJSON(ctx, tx, query, links); err != nil {
		return fmt.Errorf("link receipts to subscriptions: %w", err)
	}
	return nil
}

// columnsOf is the first n names of a list of columns.
func columnsOf(list string, n int) string {
	return strings.Join(strings.Split(list, ",")[:n], ",")
}

// prefixed puts a table's alias before each name of a list of columns.
func prefixed(alias, list string) string {
	names := strings.Split(list, ",")
	for i, name := range names {
		names[i] = alias + strings.TrimSpace(name)
	}
	return strings.Join(names, ", ")
}
