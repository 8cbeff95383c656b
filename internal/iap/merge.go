package iap

import (
	"cmp"
	"time"
)

// sighting is one transaction as each list shows it.
type sighting [ListLatest + 1]Transaction

// isCurrent reports whether the transaction is shown as it is now, and not only
// as it was when the receipt was signed.
func (s *sighting) isCurrent() bool { return s[ListLatest].TransactionID != "" }

// merged makes one record of what the lists show. A record that names no
// original transaction is one.
func (s *sighting) merged() Transaction {
	t := s[ListReceipt]
	if s.isCurrent() {
		t = fill(s[ListLatest], t)
	}
	t.OriginalTransactionID = cmp.Or(t.OriginalTransactionID, t.TransactionID)
	return t
}

// combine makes one record of two that the same list shows: of each field the
// greater value, so that a refund, an extension or an upgrade that one of them
// knows is kept, and their order does not matter.
func combine(a, b Transaction) Transaction {
	return Transaction{
		TransactionID:               max(a.TransactionID, b.TransactionID),
		OriginalTransactionID:       max(a.OriginalTransactionID, b.OriginalTransactionID),
		WebOrderLineItemID:          max(a.WebOrderLineItemID, b.WebOrderLineItemID),
		ProductID:                   max(a.ProductID, b.ProductID),
		SubscriptionGroupIdentifier: max(a.SubscriptionGroupIdentifier, b.SubscriptionGroupIdentifier),
		Quantity:                    max(a.Quantity, b.Quantity),
		PurchaseDate:                latest(a.PurchaseDate, b.PurchaseDate),
		OriginalPurchaseDate:        latest(a.OriginalPurchaseDate, b.OriginalPurchaseDate),
		ExpiresDate:                 latest(a.ExpiresDate, b.ExpiresDate),
		CancellationDate:            latest(a.CancellationDate, b.CancellationDate),
		CancellationReason:          max(a.CancellationReason, b.CancellationReason),
		IsTrialPeriod:               a.IsTrialPeriod || b.IsTrialPeriod,
		IsInIntroOfferPeriod:        a.IsInIntroOfferPeriod || b.IsInIntroOfferPeriod,
		IsUpgraded:                  a.IsUpgraded || b.IsUpgraded,
		InAppOwnershipType:          max(a.InAppOwnershipType, b.InAppOwnershipType),
		PromotionalOfferID:          max(a.PromotionalOfferID, b.PromotionalOfferID),
		OfferCodeRefName:            max(a.OfferCodeRefName, b.OfferCodeRefName),
		AppAccountToken:             max(a.AppAccountToken, b.AppAccountToken),
	}
}

// fill completes what the fresher record lacks. A refund that only the staler
// one knows is not filled in, because a refund can be reversed.
func fill(fresh, stale Transaction) Transaction {
	return Transaction{
		TransactionID:               fresh.TransactionID,
		OriginalTransactionID:       cmp.Or(fresh.OriginalTransactionID, stale.OriginalTransactionID),
		WebOrderLineItemID:          cmp.Or(fresh.WebOrderLineItemID, stale.WebOrderLineItemID),
		ProductID:                   cmp.Or(fresh.ProductID, stale.ProductID),
		SubscriptionGroupIdentifier: cmp.Or(fresh.SubscriptionGroupIdentifier, stale.SubscriptionGroupIdentifier),
		Quantity:                    cmp.Or(fresh.Quantity, stale.Quantity),
		PurchaseDate:                cmp.Or(fresh.PurchaseDate, stale.PurchaseDate),
		OriginalPurchaseDate:        cmp.Or(fresh.OriginalPurchaseDate, stale.OriginalPurchaseDate),
		ExpiresDate:                 cmp.Or(fresh.ExpiresDate, stale.ExpiresDate),
		CancellationDate:            fresh.CancellationDate,
		CancellationReason:          fresh.CancellationReason,
		IsTrialPeriod:               fresh.IsTrialPeriod || stale.IsTrialPeriod,
		IsInIntroOfferPeriod:        fresh.IsInIntroOfferPeriod || stale.IsInIntroOfferPeriod,
		IsUpgraded:                  fresh.IsUpgraded || stale.IsUpgraded,
		InAppOwnershipType:          cmp.Or(fresh.InAppOwnershipType, stale.InAppOwnershipType),
		PromotionalOfferID:          cmp.Or(fresh.PromotionalOfferID, stale.PromotionalOfferID),
		OfferCodeRefName:            cmp.Or(fresh.OfferCodeRefName, stale.OfferCodeRefName),
		AppAccountToken:             cmp.Or(fresh.AppAccountToken, stale.AppAccountToken),
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
