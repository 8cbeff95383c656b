package iap

import "cmp"

// matchRenewals ties renewal information to subscriptions by original
// transaction id. An entry without one goes by its product, and an entry that
// names neither (the top-level keys of an iOS 6 style reply) belongs to the
// subscription that runs longest, which there is the only one.
func matchRenewals(f *Facts, chains map[idNumber]*chain) map[idNumber]RenewalInfo {
	matched := make(map[idNumber]RenewalInfo, len(f.renewals))
	for _, r := range f.renewals {
		id := f.sightings.lookup(r.OriginalTransactionID)
		if r.OriginalTransactionID == "" {
			id = longestRunning(&f.sightings, chains, r.ProductID)
		}
		c, ok := chains[id]
		if !ok {
			continue
		}
		if known, twice := matched[id]; twice && !fits(c, r, known) {
			continue
		}
		matched[id] = r
	}
	return matched
}

// longestRunning is the id of the chain that expires last among those of a
// product; of all where the product is empty.
func longestRunning(seen *sightings, chains map[idNumber]*chain, productID string) idNumber {
	var best packed
	for _, c := range chains {
		if p := c.later(c.latest, c.upgraded); productID == "" || seen.kindOf(p).productID == productID {
			best = c.later(best, p)
		}
	}
	if best.id == 0 {
		return 0
	}
	return seen.originalID(best)
}

// fits reports whether of two entries for one subscription r is the one to
// believe: the one that names it, then the one for the product that runs now,
// then the one that describes trouble. Every field that counts is compared, so
// that the choice does not depend on their order.
func fits(c *chain, r, known RenewalInfo) bool {
	runs := c.seen.unpack(c.latest).ProductID
	return cmp.Or(
		compareBool(r.OriginalTransactionID != "", known.OriginalTransactionID != ""),
		compareBool(r.ProductID == runs, known.ProductID == runs),
		r.GracePeriodExpiresDate.Compare(known.GracePeriodExpiresDate),
		compareFlag(r.IsInBillingRetryPeriod, known.IsInBillingRetryPeriod),
		cmp.Compare(r.ExpirationIntent, known.ExpirationIntent),
		compareFlag(r.AutoRenewStatus, known.AutoRenewStatus),
		cmp.Compare(r.AutoRenewProductID, known.AutoRenewProductID),
		cmp.Compare(r.PriceConsentStatus, known.PriceConsentStatus),
		cmp.Compare(r.PriceIncreaseStatus, known.PriceIncreaseStatus),
	) > 0
}

func isTrue(b *bool) bool { return b != nil && *b }

// compareFlag puts a flag that was not sent before one that is not set.
func compareFlag(a, b *bool) int {
	return cmp.Or(compareBool(isTrue(a), isTrue(b)), compareBool(a != nil, b != nil))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
