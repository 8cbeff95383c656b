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
	for t, isCurrent := range f.sightings.all() {
		if t.IsSubscription() {
			known := chains[t.OriginalTransactionID]
			if known == nil {
				known = &chain{shown: make(map[string]bool)}
				chains[t.OriginalTransactionID] = known
			}
			known.meet(t, isCurrent)
		} else {
			c.Purchases = append(c.Purchases, purchase(f, t, !isCurrent && f.hasCurrent))
		}
	}
	// Once more, instead of holding thousands of periods.
	for t, isCurrent := range f.sightings.all() {
		if known := chains[t.OriginalTransactionID]; known != nil && t.IsSubscription() {
			known.weigh(t, isCurrent)
		}
	}
	renewals := matchRenewals(f.renewals, chains)
	for _, id := range slices.Sorted(maps.Keys(chains)) {
		c.Subscriptions = append(c.Subscriptions, subscription(f, chains[id], renewals[id]))
	}
	return c
}

// chain is one subscription: those of its periods that its state depends on. A
// zero Transaction means that there is none of the kind.
type chain struct {
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
	// shown and revoked are what Evidence and Revocations are made of.
	shown   map[string]bool
	revoked []revoked
}

// revoked is a revocation, and whether it is shown as it is now.
type revoked struct {
	Revocation
	isCurrent bool
}

// meet takes note of a period, before any is weighed.
func (c *chain) meet(t Transaction, isCurrent bool) {
	if isCurrent {
		c.bought = latest(c.bought, t.PurchaseDate)
	}
}

// weigh keeps a period if it counts.
func (c *chain) weigh(t Transaction, isCurrent bool) {
	c.shown[t.TransactionID] = isCurrent && !t.IsRevoked()
	if t.IsRevoked() && !t.IsUpgraded {
		r := Revocation{t.TransactionID, t.ProductID, t.CancellationDate, t.CancellationReason}
		c.revoked = append(c.revoked, revoked{r, isCurrent})
	}
	if t.AppAccountToken != "" {
		c.token = later(c.token, t)
	}
	if t.IsUpgraded || c.replaced(t, isCurrent) {
		c.upgraded = later(c.upgraded, t)
		return
	}
	c.latest = later(c.latest, t)
	c.newest = newer(c.newest, t)
	if !t.IsRevoked() {
		c.paid = later(c.paid, t)
	}
}

// replaced reports whether a period that only the receipt shows, as it was when
// that was signed, has been upgraded since: another one was bought before it
// ended. The receipt does not tell of upgrades, and a reply without old
// transactions does not show the old period otherwise.
func (c *chain) replaced(t Transaction, isCurrent bool) bool {
	return !isCurrent && t.PurchaseDate.Before(c.bought) && t.ExpiresDate.After(c.bought)
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
	for _, r := range c.revoked {
		if r.isCurrent || c.bought.IsZero() || r.TransactionID == decisive {
			all = append(all, r.Revocation)
		}
	}
	return all
}

func (c *chain) evidence(f *Facts) Evidence { return Evidence{c.shown, f.TransactionStyle} }

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
