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
	// AsOf is Apple's time of the facts.
	AsOf          time.Time
	Subscriptions []Subscription
	Purchases     []Purchase
	// Undated are the original transaction ids of subscriptions of which the
	// facts do not date the newest period, so that they show nothing of them.
	Undated []string
}

// Derive concludes from facts. It is pure, it judges by Apple's time of the
// facts alone, and the order in which the facts came does not matter. What
// older facts told in addition is added by Merge.
func Derive(f *Facts) Conclusion {
	seen := &f.sightings
	c := Conclusion{AsOf: f.AsOf}
	chains := f.chains()
	// Once more, instead of holding thousands of periods.
	for p := range seen.records() {
		switch chain := chains[seen.originalID(p)]; {
		case chain != nil:
			chain.weigh(p)
		case !seen.isUndated(p):
			c.Purchases = append(c.Purchases, purchase(f, seen.unpack(p), !seen.isCurrent(p) && f.hasCurrent))
		}
	}
	renewals := matchRenewals(f, chains)
	for _, id := range slices.SortedFunc(maps.Keys(chains), seen.compare) {
		if chains[id].isUndated() {
			c.Undated = append(c.Undated, seen.id(id))
			continue
		}
		r, told := renewals[id]
		c.Subscriptions = append(c.Subscriptions, subscription(f, chains[id], r, told))
	}
	return c
}

// chains is the subscriptions that any record evidently is a period of, or that
// renewal information names, before any period is weighed.
func (f *Facts) chains() map[idNumber]*chain {
	seen := &f.sightings
	ids, products := f.renewing()
	chains := make(map[idNumber]*chain)
	for p := range seen.records() {
		id := seen.originalID(p)
		if chains[id] == nil && (seen.isSubscription(p) || ids[id] || products[seen.kindOf(p).productID]) {
			chains[id] = &chain{seen: seen, bought: noTime, firstBought: noTime}
		}
		if chains[id] != nil {
			chains[id].meet(p)
		}
	}
	return chains
}

// renewing is what renewal information names: subscriptions, or where it does not,
// their products.
func (f *Facts) renewing() (ids map[idNumber]bool, products map[string]bool) {
	ids, products = make(map[idNumber]bool), make(map[string]bool)
	for _, r := range f.renewals {
		switch {
		case r.OriginalTransactionID != "":
			ids[f.sightings.lookup(r.OriginalTransactionID)] = true
		case r.ProductID != "":
			products[r.ProductID] = true
		}
	}
	delete(ids, 0) // one that no record has
	return ids, products
}

// chain is one subscription: those of its periods that its state depends on.
type chain struct {
	seen *sightings
	// latest expires last of all periods that no upgrade replaced, paid last
	// of those that were not revoked either, and newest was bought last.
	latest, paid, newest packed
	// upgraded expires last of the periods that an upgrade replaced.
	upgraded packed
	// token is the newest period that carries an app account token.
	token packed
	// bought is when the newest of the periods that are shown as they are now
	// was bought; noTime where none is. firstBought is the earliest original
	// purchase date, and undated when the newest period without a usable date
	// was bought.
	bought, firstBought microseconds
	undated             packed
	revoked             []packed
}

// meet takes note of a period, before any is weighed.
func (c *chain) meet(p packed) {
	if c.seen.isCurrent(p) && p.isDated() {
		c.bought = max(c.bought, p.purchaseDate)
	}
	if first := c.seen.origins.values[p.origin].purchaseDate; first != noTime {
		c.firstBought = min(c.firstBought.or(first), first)
	}
}

// weigh keeps a period if it counts.
func (c *chain) weigh(p packed) {
	if c.seen.isUndated(p) || !p.isDated() {
		if c.undated.id == 0 || p.purchaseDate > c.undated.purchaseDate {
			c.undated = p
		}
		return
	}
	k := c.seen.kindOf(p)
	if p.isRevoked() && !k.upgraded {
		c.revoked = append(c.revoked, p)
	}
	if k.token != "" {
		c.token = c.later(c.token, p)
	}
	if k.upgraded || c.replaced(p) {
		c.upgraded = c.later(c.upgraded, p)
		return
	}
	c.latest = c.later(c.latest, p)
	c.newest = c.newer(c.newest, p)
	if !p.isRevoked() {
		c.paid = c.later(c.paid, p)
	}
}

// isUndated reports whether nothing can be said of the subscription: no period has
// a usable date, or the newest has none.
func (c *chain) isUndated() bool {
	if c.undated.id == 0 {
		return false
	}
	newest := c.newest
	if newest.id == 0 {
		newest = c.upgraded
	}
	return newest.id == 0 || c.undated.purchaseDate > newest.purchaseDate
}

// replaced reports whether a period that only the receipt shows, as it was when
// that was signed, has been upgraded since: another one was bought before it
// ended. The receipt does not tell of upgrades, and a reply without old
// transactions does not show the old period otherwise.
func (c *chain) replaced(p packed) bool {
	return !c.seen.isCurrent(p) && p.purchaseDate < c.bought && p.expiresDate > c.bought
}

// later is the period that expires later; of two that expire together, the one
// bought later, because it replaced the other. Either may be none.
func (c *chain) later(a, b packed) packed {
	switch {
	case a.id == 0:
		return b
	case b.id == 0:
		return a
	}
	after := cmp.Or(
		cmp.Compare(a.expiresDate, b.expiresDate),
		cmp.Compare(a.purchaseDate, b.purchaseDate),
		c.seen.compare(a.id, b.id),
	)
	if after >= 0 {
		return a
	}
	return b
}

// newer is the period that was bought later; of two that were bought together,
// the one that expires later. Apple gives some dates in whole seconds. The first
// may be none.
func (c *chain) newer(a, b packed) packed {
	switch bought := cmp.Compare(a.purchaseDate.second(), b.purchaseDate.second()); {
	case a.id == 0 || bought < 0:
		return b
	case bought > 0:
		return a
	}
	return c.later(a, b)
}

// decisive is the period that the status follows from.
func (c *chain) decisive(asOf time.Time) packed {
	switch {
	case c.latest.id == 0:
		return c.upgraded
	case !c.latest.isRevoked():
		return c.latest
	case c.paid.id != 0 && c.paid.expiresDate > micros(asOf):
		// The longest period was refunded, but another one is paid for.
		return c.paid
	}
	// What was bought last counts: after a refund, or refunded as well.
	return c.newest
}

// revocations lists the refunded and withdrawn periods. An upgrade dates the
// end of the old period as a refund is dated, and is none; so is a date in the
// receipt alone no news, next to a list of what is true now.
func (c *chain) revocations(decisive packed) []Revocation {
	var all []Revocation
	listed := make(map[idNumber]bool) // a period can have several transaction ids
	for _, p := range c.revoked {
		if listed[p.webOrderLineItemID] {
			continue
		}
		if c.seen.isCurrent(p) || c.bought == noTime || p.id == decisive.id {
			if p.webOrderLineItemID != 0 {
				listed[p.webOrderLineItemID] = true
			}
			t := c.seen.unpack(p)
			all = append(all, Revocation{
				TransactionID: t.TransactionID, WebOrderLineItemID: t.WebOrderLineItemID, ProductID: t.ProductID,
				RevocationDate: t.CancellationDate, RevocationReason: t.CancellationReason,
			})
		}
	}
	return all
}

func subscription(f *Facts, c *chain, r RenewalInfo, renewalTold bool) Subscription {
	decisive := c.decisive(f.AsOf)
	t, token := c.seen.unpack(decisive), c.seen.unpack(c.token).AppAccountToken
	s := Subscription{
		SubscriptionKey:             SubscriptionKey{f.BundleID, f.Environment, t.OriginalTransactionID},
		ProductID:                   t.ProductID,
		SubscriptionGroupIdentifier: t.SubscriptionGroupIdentifier,
		TransactionID:               t.TransactionID,
		WebOrderLineItemID:          t.WebOrderLineItemID,
		PurchaseDate:                t.PurchaseDate,
		ExpiresDate:                 t.ExpiresDate,
		OriginalPurchaseDate:        c.firstBought.time(),
		IsInBillingRetryPeriod:      isTrue(r.IsInBillingRetryPeriod),
		GracePeriodExpiresDate:      r.GracePeriodExpiresDate,
		ExpirationIntent:            r.ExpirationIntent,
		AutoRenewStatus:             r.AutoRenewStatus,
		AutoRenewProductID:          r.AutoRenewProductID,
		IsTrialPeriod:               t.IsTrialPeriod,
		InAppOwnershipType:          t.InAppOwnershipType,
		PriceConsentStatus:          r.PriceConsentStatus,
		PriceIncreaseStatus:         r.PriceIncreaseStatus,
		AppAccountToken:             cmp.Or(t.AppAccountToken, token),
		Revocations:                 c.revocations(decisive),
		IsUpgraded:                  c.latest.id == 0,
		AsOf:                        f.AsOf,
		Evidence:                    Evidence{seen: c.seen, subscription: c.seen.originalID(decisive)},
	}
	s.OfferType, s.OfferID = offer(t)
	s.Tells = s.tells(f.TransactionStyle, renewalTold)
	s.ToldAt = s.Tells.toldAt(f.AsOf)
	s.RevocationDate, s.RevocationReason = s.revocation()
	if s.isRefundedAhead() {
		s.ExpiresDate = s.PurchaseDate // of the paid period before it
	}
	s.Status = s.status()
	return s
}

// tells is which groups a reply shows of a subscription. One in iOS 6 style has no
// fields for grace, a price increase or an offer.
func (s Subscription) tells(transactionStyle, renewal bool) Groups {
	told := GroupPeriod | GroupRevocations
	if !transactionStyle || s.OfferType != "" {
		told |= GroupOffer
	}
	if renewal {
		told |= GroupRenewal
	}
	if renewal && (!transactionStyle || !s.GracePeriodExpiresDate.IsZero() || s.priceIncrease() != "") {
		told |= GroupGrace
	}
	return told
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
