package signed

import (
	"strconv"

	"revalidator/internal/iap"
)

// The offer types that verifyReceipt tells apart, too.
const (
	offerIntroductory = 1
	offerCode         = 3
)

// Facts is what a transaction tells, and with it the renewal information that
// came with it, nil where none did. AsOf is the signing date; of two, the earlier
// one, so that nothing is taken for newer than Apple says. A transaction without
// renewal information tells its period, offer and revocation, and nothing else.
//
// A transaction shows itself alone: that it shows no other period of the
// subscription says nothing about those.
func Facts(t Transaction, r *RenewalInfo) iap.Facts {
	f := iap.Facts{AsOf: t.SignedDate, Environment: t.Environment, BundleID: t.BundleID}
	f.AddTransaction(t.facts(), iap.ListLatest)
	if r != nil {
		if r.SignedDate.Before(f.AsOf) {
			f.AsOf = r.SignedDate
		}
		f.AddRenewalInfo(r.facts())
	}
	return f
}

// facts translates the words of the signed world into those of verifyReceipt.
func (t Transaction) facts() iap.Transaction {
	isTrial := t.OfferDiscountType == "FREE_TRIAL"
	promotional, code := offer(t.OfferType, t.OfferIdentifier)
	facts := iap.Transaction{
		TransactionID:               t.TransactionID,
		OriginalTransactionID:       t.OriginalTransactionID,
		WebOrderLineItemID:          t.WebOrderLineItemID,
		ProductID:                   t.ProductID,
		SubscriptionGroupIdentifier: t.SubscriptionGroupIdentifier,
		PurchaseDate:                t.PurchaseDate,
		OriginalPurchaseDate:        t.OriginalPurchaseDate,
		ExpiresDate:                 t.ExpiresDate,
		CancellationDate:            t.RevocationDate,
		CancellationReason:          digits(t.RevocationReason),
		IsExpiryUnreadable:          t.IsExpiryUnreadable,
		IsCancellationUnreadable:    t.IsRevocationUnreadable,
		IsTrialPeriod:               isTrial,
		IsInIntroOfferPeriod:        is(t.OfferType, offerIntroductory) && !isTrial,
		IsUpgraded:                  t.IsUpgraded,
		InAppOwnershipType:          t.InAppOwnershipType,
		PromotionalOfferID:          promotional,
		OfferCodeRefName:            code,
		AppAccountToken:             t.AppAccountToken,
	}
	if t.Quantity != nil && *t.Quantity >= 0 && *t.Quantity <= 1<<31-1 {
		facts.Quantity = int(*t.Quantity)
	}
	return facts
}

func (r RenewalInfo) facts() iap.RenewalInfo {
	promotional, code := offer(r.OfferType, r.OfferIdentifier)
	return iap.RenewalInfo{
		OriginalTransactionID:  r.OriginalTransactionID,
		ProductID:              r.ProductID,
		AutoRenewProductID:     r.AutoRenewProductID,
		AutoRenewStatus:        status(r.AutoRenewStatus),
		ExpirationIntent:       iap.ExpirationIntent(digits(r.ExpirationIntent)),
		IsInBillingRetryPeriod: r.IsInBillingRetryPeriod,
		GracePeriodExpiresDate: r.GracePeriodExpiresDate,
		PriceIncreaseStatus:    digits(r.PriceIncreaseStatus),
		PromotionalOfferID:     promotional,
		OfferCodeRefName:       code,
	}
}

// offer tells under which of the two names an offer goes. Whatever is not an
// introductory offer or a code has an identifier like a promotional one: win-back
// and retention offers, and what Apple adds.
func offer(offerType *int64, identifier string) (promotional, code string) {
	switch {
	case offerType == nil, is(offerType, offerIntroductory):
		return "", ""
	case is(offerType, offerCode):
		return "", identifier
	}
	return identifier, ""
}

func is(n *int64, value int64) bool { return n != nil && *n == value }

func digits(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// status is nil also for a value that is neither on nor off.
func status(n *int64) *bool {
	if n == nil || *n != 0 && *n != 1 {
		return nil
	}
	return new(*n == 1)
}
