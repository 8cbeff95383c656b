package iap

import (
	"cmp"
	"maps"
	"slices"
)

// Conclusion is what a set of facts says about a customer: each subscription
// and each one-time purchase once, ordered by id.
type Conclusion struct {
	Subscriptions []Subscription
	Purchases     []Purchase
}

// Derive concludes from facts. It is pure, it judges by Apple's time of the
// facts alone, and the order in which the facts came does not matter.
func Derive(f *Facts) Conclusion {
	chains := make(map[string]*chain)
	var c Conclusion
	for _, t := range f.Transactions() {
		if !t.IsSubscription() {
			c.Purchases = append(c.Purchases, purchase(f, t))
			continue
		}
		known := chains[t.OriginalTransactionID]
		if known == nil {
			known = &chain{}
			chains[t.OriginalTransactionID] = known
		}
		known.add(t)
	}
	renewals := matchRenewals(f.renewals, chains)
	for _, id := range slices.Sorted(maps.Keys(chains)) {
		c.Subscriptions = append(c.Subscriptions, subscription(f, *chains[id], renewals[id]))
	}
	return c
}

// chain is the part of a subscription's history that its state depends on. A
// zero Transaction means that there is none of the kind.
type chain struct {
	// latest expires last of all periods that no upgrade replaced, current
	// last of those that were not revoked either.
	latest, current Transaction
	// upgraded expires last of the periods that an upgrade replaced.
	upgraded Transaction
	// token is the newest app account token that any period carries.
	token Transaction
}

func (c *chain) add(t Transaction) {
	if t.AppAccountToken != "" {
		c.token = later(c.token, t)
	}
	if t.IsUpgraded {
		c.upgraded = later(c.upgraded, t)
		return
	}
	c.latest = later(c.latest, t)
	if !t.IsRevoked() {
		c.current = later(c.current, t)
	}
}

// later is the transaction that expires later; of two that expire together, the
// one bought later, because it replaced the other.
func later(a, b Transaction) Transaction {
	after := cmp.Or(
		a.ExpiresDate.Compare(b.ExpiresDate),
		a.PurchaseDate.Compare(b.PurchaseDate),
		cmp.Compare(a.TransactionID, b.TransactionID),
	)
	if after >= 0 {
		return a
	}
	return b
}

// decisive is the period that the status follows from.
func (c chain) decisive(f *Facts) Transaction {
	switch {
	case c.latest.TransactionID == "":
		return c.upgraded
	case !c.latest.IsRevoked():
		return c.latest
	case c.current.ExpiresDate.After(f.AsOf):
		// The longest period was refunded, but another one is paid for.
		return c.current
	case c.current.TransactionID != "" && c.current.PurchaseDate.After(c.latest.CancellationDate):
		// Bought after the refund: what came after it counts.
		return c.current
	}
	return c.latest
}

func subscription(f *Facts, c chain, r RenewalInfo) Subscription {
	t := c.decisive(f)
	s := Subscription{
		SubscriptionKey:             SubscriptionKey{f.BundleID, f.Environment, t.OriginalTransactionID},
		Status:                      status(f, t, r),
		ProductID:                   t.ProductID,
		SubscriptionGroupIdentifier: t.SubscriptionGroupIdentifier,
		TransactionID:               t.TransactionID,
		PurchaseDate:                t.PurchaseDate,
		ExpiresDate:                 t.ExpiresDate,
		OriginalPurchaseDate:        t.OriginalPurchaseDate,
		IsInBillingRetryPeriod:      isTrue(r.IsInBillingRetryPeriod),
		GracePeriodExpiresDate:      r.GracePeriodExpiresDate,
		ExpirationIntent:            r.ExpirationIntent,
		AutoRenewStatus:             r.AutoRenewStatus,
		AutoRenewProductID:          r.AutoRenewProductID,
		IsTrialPeriod:               t.IsTrialPeriod,
		InAppOwnershipType:          t.InAppOwnershipType,
		PriceConsentStatus:          r.PriceConsentStatus,
		PriceIncreaseStatus:         r.PriceIncreaseStatus,
		AppAccountToken:             cmp.Or(t.AppAccountToken, c.token.AppAccountToken),
		IsUpgraded:                  t.IsUpgraded,
		AsOf:                        f.AsOf,
	}
	s.OfferType, s.OfferID = offer(t)
	if s.Status == StatusRevoked {
		s.RevocationDate, s.RevocationReason = t.CancellationDate, t.CancellationReason
	}
	return s
}

// status follows Apple's five: grace beats billing retry, because Apple sets
// the retry flag in the grace period too, and the retry flag needs no
// expiration intent beside it.
// https://developer.apple.com/documentation/appstoreserverapi/status
func status(f *Facts, t Transaction, r RenewalInfo) Status {
	switch {
	case t.IsUpgraded:
		return StatusExpired
	case t.IsRevoked():
		return StatusRevoked
	case t.ExpiresDate.After(f.AsOf):
		return StatusActive
	case r.GracePeriodExpiresDate.After(f.AsOf):
		return StatusGracePeriod
	case isTrue(r.IsInBillingRetryPeriod):
		return StatusBillingRetry
	}
	return StatusExpired
}

func offer(t Transaction) (OfferType, string) {
	switch {
	case t.OfferCodeRefName != "":
		return OfferCode, t.OfferCodeRefName
	case t.PromotionalOfferID != "":
		return OfferPromotional, t.PromotionalOfferID
	case t.IsTrialPeriod, t.IsInIntroOfferPeriod:
		return OfferIntroductory, ""
	}
	return "", ""
}

func purchase(f *Facts, t Transaction) Purchase {
	return Purchase{
		BundleID:              f.BundleID,
		Environment:           f.Environment,
		TransactionID:         t.TransactionID,
		OriginalTransactionID: t.OriginalTransactionID,
		ProductID:             t.ProductID,
		PurchaseDate:          t.PurchaseDate,
		Quantity:              t.Quantity,
		InAppOwnershipType:    t.InAppOwnershipType,
		RevocationDate:        t.CancellationDate,
		RevocationReason:      t.CancellationReason,
		AsOf:                  f.AsOf,
	}
}
