package iap

import (
	"cmp"
	"slices"
	"time"
)

const (
	// unshownReplies is how many replies, on as many days, must not show a
	// subscription after its end until it is taken for expired.
	unshownReplies = 3
	// reversalAfter is how far apart two replies must be that show a revoked
	// period as paid, until the revocation is taken back: Apple's replicas lag,
	// and a reply that lags is newer by its own time.
	reversalAfter = 24 * time.Hour
	// billingRetryFor is how long Apple tries to collect a failed payment, and
	// so how long it may be believed that it does without being told again.
	// https://developer.apple.com/documentation/storekit/in-app_purchase/reducing_involuntary_subscriber_churn
	billingRetryFor = 60 * day
)

// Progress is what facts bring to a row that is stored.
type Progress int

const (
	// ProgressNone is of facts that are no newer than what is stored, group by
	// group. They change nothing.
	ProgressNone Progress = iota
	// ProgressMerged is of facts that moved the row forward in Apple's time.
	ProgressMerged
	// ProgressShowsLess is of facts that show neither the newest period that is
	// stored nor a later one. They prove nothing; see Merge.
	ProgressShowsLess
)

// Merge combines facts about a subscription with what is stored of it, which is
// the one way in which a subscription changes. It is pure.
//
//   - A group that the facts show replaces the stored one as a whole, if the
//     facts are newer than those that told it last.
//   - A group that they do not tell is kept for the same period, and not past
//     its own end.
//   - Revocations are added to. A known one is taken back by two consecutive
//     replies a day apart that show the period as paid, with none between that
//     shows it as revoked.
//   - Facts that show less than is stored show nothing. Three such replies on
//     three days, all after the stored end, make the subscription expired.
//
// Facts that do not show the subscription at all are a Subscription with nothing
// but its key and AsOf.
func Merge(before, facts Subscription) (Subscription, Progress) {
	isCurrent := facts.AsOf.After(before.PeriodAsOf)
	switch {
	case !before.isOlderThan(facts):
		return before, ProgressNone
	case !isCurrent && !before.isSamePeriod(facts):
		return before.revokedAnyhow(facts)
	case isCurrent && !facts.showsAsMuchAs(before):
		return before.unshown(facts.AsOf)
	}
	s := before
	s.AsOf = latest(before.AsOf, facts.AsOf)
	s.UnshownReplies, s.UnshownAt = 0, time.Time{}
	s.OriginalPurchaseDate = earlier(before.OriginalPurchaseDate, facts.OriginalPurchaseDate)
	s.SubscriptionGroupIdentifier = cmp.Or(facts.SubscriptionGroupIdentifier, before.SubscriptionGroupIdentifier)
	s.InAppOwnershipType = cmp.Or(facts.InAppOwnershipType, before.InAppOwnershipType)
	s.AppAccountToken = cmp.Or(facts.AppAccountToken, before.AppAccountToken)
	s.mergePeriod(facts)
	s.mergeRenewal(facts)
	s.mergeGrace(facts)
	s.mergeOffer(facts)
	s.mergeRevocations(facts)
	s.Status = s.status()
	return s, ProgressMerged
}

// revokedAnyhow merges nothing but revocations, which are of all periods: facts of a
// period that is over now can tell them where newer ones did not.
func (s Subscription) revokedAnyhow(facts Subscription) (Subscription, Progress) {
	if !s.isNewer(GroupRevocations, facts) {
		return s, ProgressNone
	}
	s.mergeRevocations(facts)
	s.Status = s.status()
	return s, ProgressMerged
}

// isOlderThan reports whether facts are newer than those that last told one of
// the groups that they tell.
func (s Subscription) isOlderThan(facts Subscription) bool {
	if facts.Tells == 0 {
		return facts.AsOf.After(s.AsOf)
	}
	for _, group := range allGroups {
		if s.isNewer(group, facts) {
			return true
		}
	}
	return false
}

// showsAsMuchAs reports whether facts show the newest period that is stored, or
// a later one.
func (s Subscription) showsAsMuchAs(known Subscription) bool {
	shown, _ := s.Evidence.shows(known.TransactionID, known.WebOrderLineItemID)
	return shown || s.Tells != 0 && (s.isSamePeriod(known) || s.isLaterThan(known))
}

// isLaterThan reports whether a period came after another one: by when they began,
// or where a record does not say, by when they end.
func (s Subscription) isLaterThan(known Subscription) bool {
	if s.PurchaseDate.IsZero() || known.PurchaseDate.IsZero() {
		return s.ExpiresDate.After(known.ExpiresDate)
	}
	return s.PurchaseDate.After(known.PurchaseDate)
}

// isSamePeriod reports whether two states are in the same period. A period can
// have several transaction ids (a restore gives another), but one web order line
// item id.
func (s Subscription) isSamePeriod(other Subscription) bool {
	if s.WebOrderLineItemID != "" && other.WebOrderLineItemID != "" {
		return s.WebOrderLineItemID == other.WebOrderLineItemID
	}
	return s.TransactionID == other.TransactionID
}

// unshown is the subscription after a reply that does not show it as far as it is
// known.
func (s Subscription) unshown(asOf time.Time) (Subscription, Progress) {
	switch {
	case s.isGone():
		return s, ProgressNone
	case asOf.Before(s.end()), asOf.Before(s.UnshownAt), sameDay(asOf, s.UnshownAt):
		return s, ProgressShowsLess
	}
	s.UnshownReplies, s.UnshownAt = s.UnshownReplies+1, asOf
	if s.isGone() {
		s.AsOf, s.IsInBillingRetryPeriod, s.GracePeriodExpiresDate = asOf, false, time.Time{}
		s.Status = s.status()
	}
	return s, ProgressShowsLess
}

// isGone reports whether so many replies did not show the subscription that it is
// not expected any more.
func (s Subscription) isGone() bool { return s.UnshownReplies >= unshownReplies }

// NoLongerShown reports whether it is by this step that a subscription is taken for
// expired because replies do not show it any more.
func NoLongerShown(before, after Subscription) bool { return !before.isGone() && after.isGone() }

// end is until when the stored facts speak for the subscription by themselves; the
// zero time where it has ended.
func (s Subscription) end() time.Time {
	switch s.Status {
	case StatusActive:
		return s.ExpiresDate
	case StatusGracePeriod:
		return s.GracePeriodExpiresDate
	case StatusBillingRetry:
		return s.ExpiresDate.Add(billingRetryFor)
	}
	return time.Time{}
}

func (s *Subscription) mergePeriod(facts Subscription) {
	if !s.isNewer(GroupPeriod, facts) {
		return
	}
	s.PeriodAsOf = facts.AsOf
	if facts.isRefundedAheadOf(*s) {
		return
	}
	if !s.isSamePeriod(facts) {
		s.forgetUntold()
	}
	s.ProductID, s.TransactionID, s.WebOrderLineItemID = facts.ProductID, facts.TransactionID, facts.WebOrderLineItemID
	s.PurchaseDate, s.ExpiresDate, s.IsUpgraded = facts.PurchaseDate, facts.ExpiresDate, facts.IsUpgraded
}

// isRefundedAheadOf reports whether facts show a renewal that was refunded before
// its period began, and not the paid period before it, which still runs.
func (s Subscription) isRefundedAheadOf(running Subscription) bool {
	shown, _ := s.Evidence.shows(running.TransactionID, running.WebOrderLineItemID)
	return !shown && s.isRefundedAhead() && running.RevocationDate.IsZero() && running.ExpiresDate.After(s.AsOf)
}

// isRefundedAhead reports whether the period was refunded and has not begun: Apple
// renews up to a day before a period ends, which the customer keeps to its end.
func (s Subscription) isRefundedAhead() bool {
	return s.PurchaseDate.After(s.AsOf) && !s.IsUpgraded && slices.ContainsFunc(s.Revocations, func(r Revocation) bool { return r.isOf(s) })
}

// forgetUntold drops what was known of a period that is over. What facts show of
// the new one is merged next.
func (s *Subscription) forgetUntold() {
	s.AutoRenewStatus, s.AutoRenewProductID, s.ExpirationIntent, s.IsInBillingRetryPeriod = nil, "", "", false
	s.GracePeriodExpiresDate, s.PriceConsentStatus, s.PriceIncreaseStatus = time.Time{}, "", ""
	s.OfferType, s.OfferID, s.IsTrialPeriod = "", "", false
	s.RenewalAsOf, s.GraceAsOf, s.OfferAsOf = time.Time{}, time.Time{}, time.Time{}
}

func (s *Subscription) mergeRenewal(facts Subscription) {
	if s.isNewer(GroupRenewal, facts) {
		s.RenewalAsOf = facts.AsOf
		s.AutoRenewStatus, s.AutoRenewProductID = facts.AutoRenewStatus, facts.AutoRenewProductID
		s.ExpirationIntent, s.IsInBillingRetryPeriod = facts.ExpirationIntent, facts.IsInBillingRetryPeriod
		return
	}
	if !s.AsOf.Before(s.ExpiresDate.Add(billingRetryFor)) {
		s.IsInBillingRetryPeriod = false
	}
}

// mergeGrace also drops a grace period where newer facts, which did not tell of it,
// told that Apple does not try to collect the payment any more. Which of them was
// stored first does not matter.
func (s *Subscription) mergeGrace(facts Subscription) {
	if s.isNewer(GroupGrace, facts) {
		s.GraceAsOf = facts.AsOf
		s.GracePeriodExpiresDate = facts.GracePeriodExpiresDate
		s.PriceConsentStatus, s.PriceIncreaseStatus = facts.PriceConsentStatus, facts.PriceIncreaseStatus
	}
	if s.RenewalAsOf.After(s.GraceAsOf) && !s.IsInBillingRetryPeriod {
		s.GracePeriodExpiresDate = time.Time{}
	}
}

func (s *Subscription) mergeOffer(facts Subscription) {
	if s.isNewer(GroupOffer, facts) {
		s.OfferAsOf = facts.AsOf
		s.OfferType, s.OfferID, s.IsTrialPeriod = facts.OfferType, facts.OfferID, facts.IsTrialPeriod
	}
}

// mergeRevocations adds the revocations that facts show to those that are known,
// and takes back the known ones that they have shown as paid for long enough.
func (s *Subscription) mergeRevocations(facts Subscription) {
	if s.isNewer(GroupRevocations, facts) {
		s.RevocationsAsOf = facts.AsOf
		all := slices.Clone(facts.Revocations)
		for _, r := range s.Revocations {
			if !slices.ContainsFunc(all, r.isSame) && !r.isReversed(facts) {
				all = append(all, r)
			}
		}
		slices.SortFunc(all, func(a, b Revocation) int { return cmp.Compare(a.TransactionID, b.TransactionID) })
		s.Revocations = all
	}
	s.RevocationDate, s.RevocationReason = s.revocation()
}

// revocation is that of the period which the subscription is in, if any. One that
// was refunded before it began leaves the period before it.
func (s Subscription) revocation() (time.Time, string) {
	for _, r := range s.Revocations {
		if r.isOf(s) && !s.IsUpgraded && !s.PurchaseDate.After(s.AsOf) {
			return r.RevocationDate, r.RevocationReason
		}
	}
	return time.Time{}, ""
}

// isReversed notes that facts show a revoked period as paid, and reports whether
// they have done so for long enough to believe it.
func (r *Revocation) isReversed(facts Subscription) bool {
	if _, paid := facts.Evidence.shows(r.TransactionID, r.WebOrderLineItemID); !paid {
		return false
	}
	var reversed bool
	r.UnrevokedSince, reversed = paidSince(r.UnrevokedSince, facts.AsOf)
	return reversed
}

// paidSince is since when replies in a row show something revoked as paid, and
// whether that is long enough to believe it.
func paidSince(since, asOf time.Time) (time.Time, bool) {
	if since.IsZero() {
		return asOf, false
	}
	return since, !asOf.Before(since.Add(reversalAfter))
}

func (r Revocation) isSame(other Revocation) bool {
	if r.WebOrderLineItemID != "" && other.WebOrderLineItemID != "" {
		return r.WebOrderLineItemID == other.WebOrderLineItemID
	}
	return r.TransactionID == other.TransactionID
}

// isOf reports whether the period that was revoked is the one that a subscription
// is in.
func (r Revocation) isOf(s Subscription) bool {
	return r.isSame(Revocation{TransactionID: s.TransactionID, WebOrderLineItemID: s.WebOrderLineItemID})
}

// MergePurchase is Merge for a one-time purchase. A receipt that was signed
// before a refund says nothing of it.
func MergePurchase(before, facts Purchase) (Purchase, Progress) {
	if !facts.AsOf.After(before.AsOf) {
		return before, ProgressNone
	}
	p := facts
	p.ProductID = cmp.Or(p.ProductID, before.ProductID)
	p.PurchaseDate = cmp.Or(p.PurchaseDate, before.PurchaseDate)
	p.Quantity = cmp.Or(p.Quantity, before.Quantity)
	p.InAppOwnershipType = cmp.Or(p.InAppOwnershipType, before.InAppOwnershipType)
	if before.RevocationDate.IsZero() || !facts.RevocationDate.IsZero() {
		return p, ProgressMerged
	}
	reversed := false
	if p.UnrevokedSince = before.UnrevokedSince; !facts.Stale {
		p.UnrevokedSince, reversed = paidSince(before.UnrevokedSince, facts.AsOf)
	}
	if reversed {
		p.UnrevokedSince = time.Time{}
		return p, ProgressMerged
	}
	p.RevocationDate, p.RevocationReason = before.RevocationDate, before.RevocationReason
	return p, ProgressMerged
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// earlier is the earlier of two times, either of which may be none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func sameDay(a, b time.Time) bool { return a.UTC().Truncate(day).Equal(b.UTC().Truncate(day)) }
