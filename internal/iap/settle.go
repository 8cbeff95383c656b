package iap

import (
	"cmp"
	"slices"
	"time"
)

// Supersedes reports whether after may replace before: only facts that are
// newer in Apple's time move a subscription.
func Supersedes(before, after time.Time) bool { return after.After(before) }

// Settle completes what newer facts conclude by what was known before. Replies
// often show less than there is: with exclude-old-transactions only the newest
// period, in iOS 6 style no grace period, and sometimes no renewal information
// at all. What is not shown is kept, and the status is judged anew.
func Settle(before, after Subscription) Subscription {
	s := after
	if shown, _ := s.Evidence.shows(before.TransactionID); !shown && s.PurchaseDate.Before(before.PurchaseDate) {
		s.takePeriod(before)
	}
	if s.Evidence.TransactionStyle && s.TransactionID == before.TransactionID {
		s.takeUntold(before)
	}
	s.ProductID = cmp.Or(s.ProductID, before.ProductID)
	s.SubscriptionGroupIdentifier = cmp.Or(s.SubscriptionGroupIdentifier, before.SubscriptionGroupIdentifier)
	s.OriginalPurchaseDate = cmp.Or(s.OriginalPurchaseDate, before.OriginalPurchaseDate)
	s.AutoRenewStatus = cmp.Or(s.AutoRenewStatus, before.AutoRenewStatus)
	s.AutoRenewProductID = cmp.Or(s.AutoRenewProductID, before.AutoRenewProductID)
	s.InAppOwnershipType = cmp.Or(s.InAppOwnershipType, before.InAppOwnershipType)
	s.AppAccountToken = cmp.Or(s.AppAccountToken, before.AppAccountToken)
	s.takeRevocations(before)
	s.Status = s.status()
	return s
}

// takePeriod keeps the period that was known to be the newest, where facts show
// an older one and not it, as the reply to an old transaction receipt may.
func (s *Subscription) takePeriod(known Subscription) {
	s.ProductID, s.TransactionID = known.ProductID, known.TransactionID
	s.PurchaseDate, s.ExpiresDate = known.PurchaseDate, known.ExpiresDate
	s.OfferType, s.OfferID, s.IsTrialPeriod = known.OfferType, known.OfferID, known.IsTrialPeriod
	s.InAppOwnershipType = known.InAppOwnershipType
	s.RevocationDate, s.RevocationReason = known.RevocationDate, known.RevocationReason
	s.IsUpgraded = known.IsUpgraded
}

// takeUntold keeps of the same period what a reply in iOS 6 style does not tell.
func (s *Subscription) takeUntold(known Subscription) {
	if s.IsInBillingRetryPeriod && s.GracePeriodExpiresDate.IsZero() {
		s.GracePeriodExpiresDate = known.GracePeriodExpiresDate
	}
	s.PriceConsentStatus = cmp.Or(s.PriceConsentStatus, known.PriceConsentStatus)
	s.PriceIncreaseStatus = cmp.Or(s.PriceIncreaseStatus, known.PriceIncreaseStatus)
	if s.OfferType == "" {
		s.OfferType, s.OfferID, s.IsTrialPeriod = known.OfferType, known.OfferID, known.IsTrialPeriod
	}
}

// takeRevocations keeps the revocations of periods that the facts do not show
// as paid for now.
func (s *Subscription) takeRevocations(known Subscription) {
	all := slices.Clone(s.Revocations)
	for _, r := range known.Revocations {
		if _, paid := s.Evidence.shows(r.TransactionID); !paid && !slices.ContainsFunc(all, r.isSame) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Revocation) int { return cmp.Compare(a.TransactionID, b.TransactionID) })
	s.Revocations = all
	for _, r := range all {
		if r.TransactionID == s.TransactionID && !s.IsUpgraded {
			s.RevocationDate, s.RevocationReason = r.RevocationDate, r.RevocationReason
		}
	}
}

func (r Revocation) isSame(other Revocation) bool { return r.TransactionID == other.TransactionID }

// SettlePurchase is Settle for a one-time purchase. A refund is not reversed by
// a receipt that was signed before it.
func SettlePurchase(before, after Purchase) Purchase {
	p := after
	if p.Stale && p.RevocationDate.IsZero() {
		p.RevocationDate, p.RevocationReason = before.RevocationDate, before.RevocationReason
	}
	p.ProductID = cmp.Or(p.ProductID, before.ProductID)
	p.PurchaseDate = cmp.Or(p.PurchaseDate, before.PurchaseDate)
	p.Quantity = cmp.Or(p.Quantity, before.Quantity)
	p.InAppOwnershipType = cmp.Or(p.InAppOwnershipType, before.InAppOwnershipType)
	return p
}
