package iap

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Conclusion is what a set of facts says about a customer: each subscription
// and each one-time purchase once, ordered by id.
type Conclusion struct {
	Subscriptions []Subscription
	Purchases     []Purchase
}

// Derive concludes from facts. It is pure, it judges by Apple's time of the
// facts alone, and the order in which the facts came does not matter. What
// older facts told beside these is added by Settle.
func Derive(f *Facts) Conclusion {
	chains := make(map[string]*chain)
	var c Conclusion
	for _, id := range slices.Sorted(maps.Keys(f.transactions)) {
		seen := f.transactions[id]
		t := seen.merged()
		if !t.IsSubscription() {
			c.Purchases = append(c.Purchases, purchase(f, t, !seen.isCurrent() && f.hasCurrent))
			continue
		}
		known := chains[t.OriginalTransactionID]
		if known == nil {
			known = &chain{}
			chains[t.OriginalTransactionID] = known
		}
		known.periods = append(known.periods, period{t, seen.isCurrent()})
	}
	for _, known := range chains {
		known.weigh()
	}
	renewals := matchRenewals(f.renewals, chains)
	for _, id := range slices.Sorted(maps.Keys(chains)) {
		c.Subscriptions = append(c.Subscriptions, subscription(f, chains[id], renewals[id]))
	}
	return c
}

// period is a transaction of a subscription, and whether it is shown as it is
// now.
type period struct {
	Transaction
	isCurrent bool
}

// chain is one subscription: its periods, and which of them its state depends
// on. A zero Transaction means that there is none of the kind.
type chain struct {
	periods []period

	// latest expires last of all periods that no upgrade replaced, paid last
	// of those that were not revoked either, and newest was bought last.
	latest, paid, newest Transaction
	// upgraded expires last of the periods that an upgrade replaced.
	upgraded Transaction
	// token is the newest app account token that any period carries.
	token Transaction
	// bought is when the newest of the periods that are shown as they are now
	// was bought; zero where none is.
	bought time.Time
}

// weigh finds the periods that count.
func (c *chain) weigh() {
	for _, p := range c.periods {
		if p.isCurrent {
			c.bought = latest(c.bought, p.PurchaseDate)
		}
	}
	for _, p := range c.periods {
		if p.AppAccountToken != "" {
			c.token = later(c.token, p.Transaction)
		}
		if p.IsUpgraded || c.replaced(p) {
			c.upgraded = later(c.upgraded, p.Transaction)
			continue
		}
		c.latest = later(c.latest, p.Transaction)
		c.newest = newer(c.newest, p.Transaction)
		if !p.IsRevoked() {
			c.paid = later(c.paid, p.Transaction)
		}
	}
}

// replaced reports whether a period that only the receipt shows, as it was when
// that was signed, has been upgraded since: another one was bought before it
// ended. The receipt does not tell of upgrades, and a reply without old
// transactions does not show the old period otherwise.
func (c *chain) replaced(p period) bool {
	return !p.isCurrent && p.PurchaseDate.Before(c.bought) && p.ExpiresDate.After(c.bought)
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

// newer is the transaction that was bought later; of two that were bought
// together, the one that expires later. Apple gives some dates in whole seconds.
func newer(a, b Transaction) Transaction {
	if after := a.PurchaseDate.Truncate(time.Second).Compare(b.PurchaseDate.Truncate(time.Second)); after != 0 {
		if after > 0 {
			return a
		}
		return b
	}
	return later(a, b)
}

// decisive is the period that the status follows from.
func (c *chain) decisive(asOf time.Time) Transaction {
	switch {
	case c.latest.TransactionID == "":
		return c.upgraded
	case !c.latest.IsRevoked():
		return c.latest
	case c.paid.ExpiresDate.After(asOf):
		// The longest period was refunded, but another one is paid for.
		return c.paid
	}
	// What was bought last counts: after a refund, or refunded as well.
	return c.newest
}

// revocations lists the refunded and withdrawn periods. An upgrade dates the
// end of the old period as a refund is dated, and is none; so is a date in the
// receipt alone no news, beside a list of what is true now.
func (c *chain) revocations(decisive string) []Revocation {
	var all []Revocation
	for _, p := range c.periods {
		told := p.isCurrent || c.bought.IsZero() || p.TransactionID == decisive
		if p.IsRevoked() && !p.IsUpgraded && told {
			all = append(all, Revocation{p.TransactionID, p.ProductID, p.CancellationDate, p.CancellationReason})
		}
	}
	return all
}

func (c *chain) evidence(f *Facts) Evidence {
	shown := make(map[string]bool, len(c.periods))
	for _, p := range c.periods {
		shown[p.TransactionID] = p.isCurrent && !p.IsRevoked()
	}
	return Evidence{shown, f.TransactionStyle}
}

func subscription(f *Facts, c *chain, r RenewalInfo) Subscription {
	t := c.decisive(f.AsOf)
	s := Subscription{
		SubscriptionKey:             SubscriptionKey{f.BundleID, f.Environment, t.OriginalTransactionID},
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
		Revocations:                 c.revocations(t.TransactionID),
		IsUpgraded:                  c.latest.TransactionID == "",
		AsOf:                        f.AsOf,
		Evidence:                    c.evidence(f),
	}
	s.OfferType, s.OfferID = offer(t)
	if !s.IsUpgraded {
		s.RevocationDate, s.RevocationReason = t.CancellationDate, t.CancellationReason
	}
	if s.RevocationDate.IsZero() {
		s.RevocationReason = ""
	}
	s.Status = s.status()
	return s
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

func purchase(f *Facts, t Transaction, stale bool) Purchase {
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
		Stale:                 stale,
	}
}
