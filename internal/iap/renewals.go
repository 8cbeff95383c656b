package iap

import "cmp"

// matchRenewals ties renewal information to subscriptions by original
// transaction id. An entry without one goes by its product, and an entry that
// names neither (the top-level keys of an iOS 6 style reply) belongs to the
// subscription that runs longest, which there is the only one.
func matchRenewals(renewals []RenewalInfo, chains map[string]*chain) map[string]RenewalInfo {
	matched := make(map[string]RenewalInfo, len(renewals))
	for _, r := range renewals {
		id := cmp.Or(r.OriginalTransactionID, longestRunning(chains, r.ProductID))
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
func longestRunning(chains map[string]*chain, productID string) string {
	var best Transaction
	for _, c := range chains {
		t := later(c.latest, c.upgraded)
		if productID == "" || t.ProductID == productID {
			best = later(best, t)
		}
	}
	return best.OriginalTransactionID
}

// fits reports whether of two entries for one subscription r is the one to
// believe: the one that names it, then the one for the product that runs now,
// then the one that tells of trouble. Every field that counts is compared, so
// that the choice does not depend on their order.
func fits(c *chain, r, known RenewalInfo) bool {
	return cmp.Or(
		compareBool(r.OriginalTransactionID != "", known.OriginalTransactionID != ""),
		compareBool(r.ProductID == c.latest.ProductID, known.ProductID == c.latest.ProductID),
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
