package repository

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// purchaseRow is a purchase with the last and the first receipt that showed it.
type purchaseRow struct {
	iap.Purchase
	ReceiptID      int64 `json:"receipt_id"`
	FirstReceiptID int64 `json:"first_receipt_id"`
}

type purchaseKey struct {
	bundleID      string
	environment   iap.Environment
	transactionID string
}

func subscriptions() table[iap.Subscription, iap.SubscriptionKey] {
	return table[iap.Subscription, iap.SubscriptionKey]{
		name: "subscriptions",
		columns: `bundle_id, environment, original_transaction_id, status, product_id,
			subscription_group_identifier, transaction_id, purchase_date, expires_date, original_purchase_date,
			grace_period_expires_date, is_in_billing_retry_period, expiration_intent, auto_renew_status,
			auto_renew_product_id, offer_type, offer_id, is_trial_period, in_app_ownership_type,
			price_consent_status, price_increase_status, app_account_token, revocation_date, revocation_reason,
			revocations, is_upgraded, as_of`,
		key: iap.Subscription.Key,
		less: func(a, b iap.SubscriptionKey) int {
			return cmp.Or(cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.Environment, b.Environment),
				cmp.Compare(a.OriginalTransactionID, b.OriginalTransactionID))
		},
		asOf:    func(s iap.Subscription) time.Time { return s.AsOf },
		settle:  iap.Settle,
		changes: iap.Changes,
		event: func(s iap.Subscription) event {
			return event{BundleID: s.BundleID, Environment: s.Environment, OriginalTransactionID: s.OriginalTransactionID, AsOf: s.AsOf}
		},
	}
}

func purchases() table[purchaseRow, purchaseKey] {
	return table[purchaseRow, purchaseKey]{
		name: "purchases",
		columns: `bundle_id, environment, transaction_id, original_transaction_id, product_id, purchase_date,
			quantity, in_app_ownership_type, revocation_date, revocation_reason, as_of, receipt_id,
			first_receipt_id`,
		key: func(p purchaseRow) purchaseKey { return purchaseKey{p.BundleID, p.Environment, p.TransactionID} },
		less: func(a, b purchaseKey) int {
			return cmp.Or(cmp.Compare(a.bundleID, b.bundleID), cmp.Compare(a.environment, b.environment),
				cmp.Compare(a.transactionID, b.transactionID))
		},
		asOf: func(p purchaseRow) time.Time { return p.AsOf },
		settle: func(before, after purchaseRow) purchaseRow {
			after.Purchase = iap.SettlePurchase(before.Purchase, after.Purchase)
			after.FirstReceiptID = cmp.Or(before.FirstReceiptID, after.FirstReceiptID)
			return after
		},
		changes: func(before *purchaseRow, after purchaseRow, importedAt time.Time) []iap.Change {
			if before == nil {
				return iap.PurchaseChanges(nil, after.Purchase, importedAt)
			}
			return iap.PurchaseChanges(&before.Purchase, after.Purchase, importedAt)
		},
		event: func(p purchaseRow) event {
			return event{BundleID: p.BundleID, Environment: p.Environment, OriginalTransactionID: p.OriginalTransactionID, AsOf: p.AsOf}
		},
	}
}

// saveConclusions moves subscriptions and purchases forward to what outcomes
// conclude, writes an event for each change, and returns the receipts that
// brought one.
func saveConclusions(ctx context.Context, tx *sqlx.Tx, outcomes []ledger.Outcome) (map[int64]bool, error) {
	var states []fact[iap.Subscription]
	var bought []fact[purchaseRow]
	var links []receiptSubscription
	var now time.Time
	for _, o := range outcomes {
		if o.Conclusion == nil {
			continue
		}
		now = o.At
		by := reply{o.ReceiptID, o.Generation, o.RunID, o.ImportedAt}
		for _, s := range o.Conclusion.Subscriptions {
			states = append(states, fact[iap.Subscription]{s, by})
			links = append(links, receiptSubscription{o.ReceiptID, s.SubscriptionKey})
		}
		for _, p := range o.Conclusion.Purchases {
			bought = append(bought, fact[purchaseRow]{purchaseRow{p, o.ReceiptID, o.ReceiptID}, by})
		}
	}
	events, err := subscriptions().forward(ctx, tx, states, now)
	if err != nil {
		return nil, err
	}
	purchased, err := purchases().forward(ctx, tx, bought, now)
	if err != nil {
		return nil, err
	}
	if err := linkReceipts(ctx, tx, links); err != nil {
		return nil, err
	}
	return saveEvents(ctx, tx, append(events, purchased...), now)
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
