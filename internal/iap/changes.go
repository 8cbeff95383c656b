package iap

import (
	"cmp"
	"time"
)

// firstSightSlack is how long before its receipt was imported a subscription or
// purchase may have been bought and still be news: the time that a backend may
// need to hand a receipt in.
const firstSightSlack = 3 * 24 * time.Hour

// Changes names what happened between two states of one subscription, each
// change once, in the order in which a person would tell it: what became of the
// old period, the new period and what it was bought with, the status since then,
// and what is planned. The caller has checked with Supersedes that after is
// newer, and has settled it.
//
// What counts as a change, each independent of the others:
//
//   - another period, or a later end of the same one: started, renewed,
//     recovered, resubscribed or extended; an upgrade within a paid period is
//     told by product_changed alone. Beside it trial_started, trial_converted
//     and offer_redeemed say what the new period was bought with;
//   - a status that the period does not explain: expired,
//     entered_grace_period, entered_billing_retry;
//   - each period more or less among the revoked ones: refunded or
//     family_access_lost, refund_reversed;
//   - the product, the product of the next period, auto-renew, and a price
//     increase. What was not known before is no change of these.
//
// A nil before means that the subscription was not known. Then it is told as
// started, with what has happened since, if it is news: bought no earlier than
// firstSightSlack before the receipt was imported. Of one that is older nothing
// is told, because nothing of it happened now.
func Changes(before *Subscription, after Subscription, importedAt time.Time) []Change {
	if before != nil {
		return tell(*before, after)
	}
	bought := cmp.Or(after.OriginalPurchaseDate, after.PurchaseDate)
	if !isNews(bought, importedAt) {
		return nil
	}
	s := story{after: after}
	s.add(EventStarted, bought)
	s.boughtWith(Subscription{}, EventStarted)
	return append(s.told, tell(opening(after), after)...)
}

// isNews reports whether what was bought then is told at its first sight.
func isNews(bought, importedAt time.Time) bool {
	return !bought.Before(importedAt.Add(-firstSightSlack))
}

// opening is the state of a subscription when its period began.
func opening(s Subscription) Subscription {
	s.Status = StatusActive
	s.Revocations, s.RevocationDate = nil, time.Time{}
	s.PriceConsentStatus, s.PriceIncreaseStatus = "", ""
	if s.AutoRenewStatus != nil {
		s.AutoRenewStatus = new(true)
	}
	if s.AutoRenewProductID != "" {
		s.AutoRenewProductID = s.ProductID
	}
	return s
}

// PurchaseChanges is Changes for a one-time purchase.
func PurchaseChanges(before *Purchase, after Purchase, importedAt time.Time) []Change {
	var told []Change
	add := func(e EventType, at time.Time) {
		told = append(told, Change{e, after.TransactionID, after.ProductID, at})
	}
	if before == nil {
		if !isNews(after.PurchaseDate, importedAt) {
			return nil
		}
		add(EventPurchased, after.PurchaseDate)
		before = &Purchase{}
	}
	switch was, is := !before.RevocationDate.IsZero(), !after.RevocationDate.IsZero(); {
	case is && !was && after.InAppOwnershipType == OwnershipFamilyShared:
		add(EventFamilyAccessLost, after.RevocationDate)
	case is && !was:
		add(EventRefunded, after.RevocationDate)
	case was && !is:
		add(EventRefundReversed, time.Time{})
	}
	return told
}
