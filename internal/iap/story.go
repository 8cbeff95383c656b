package iap

import (
	"cmp"
	"slices"
	"time"
)

// renewalGap is the time between two periods up to which an expiry without a reason counts as
// a renewal that came late. Apple normally renews before expiry, but short gaps
// happen.
const renewalGap = 24 * time.Hour

// story is the changes told so far.
type story struct {
	before, after Subscription
	told          []Change
}

func (s *story) add(e EventType, at time.Time) {
	s.told = append(s.told, Change{e, s.after.TransactionID, s.after.ProductID, at})
}

func (s *story) addIf(when bool, e EventType, at time.Time) {
	if when {
		s.add(e, at)
	}
}

// tell tells causes before what they caused: consent and renewal turned on come
// before the new period that they made possible, and renewal turned off comes
// before the expiry that the customer meant by it.
func tell(before, after Subscription) []Change {
	s := &story{before: before, after: after}
	undated := time.Time{}
	period, isNew := s.periodEvent(), s.isNewPeriod()
	enabled := before.autoRenews(false) && after.autoRenews(true)
	disabled := before.autoRenews(true) && after.autoRenews(false)
	accepted := before.priceIncrease() != "1" && after.priceIncrease() == "1"
	pending := before.priceIncrease() != "0" && after.priceIncrease() == "0"
	goesOn := period == EventRenewed || period == EventRecovered
	meant := after.ExpirationIntent == "" || after.ExpirationIntent == IntentCustomerCancelled

	s.revocations(func(r Revocation) bool { return !isNew || !r.isOf(after) })
	s.addIf(accepted && isNew, EventPriceIncreaseAccepted, undated)
	s.addIf(enabled && goesOn, EventAutoRenewEnabled, undated)
	s.addIf(period != "", period, s.periodDate())
	s.addIf(before.ProductID != after.ProductID, EventProductChanged, s.periodDate())
	if isNew {
		s.boughtWith(before, period)
		s.revocations(func(r Revocation) bool { return r.isOf(after) })
	}
	s.addIf(disabled && meant, EventAutoRenewDisabled, undated)
	s.status(period)
	s.addIf(disabled && !meant, EventAutoRenewDisabled, undated)
	s.addIf(enabled && !goesOn, EventAutoRenewEnabled, undated)
	s.addIf(s.scheduled(), EventProductChangeScheduled, undated)
	s.addIf(pending, EventPriceIncreasePending, undated)
	s.addIf(accepted && !isNew, EventPriceIncreaseAccepted, undated)
	return s.told
}

func (s Subscription) autoRenews(on bool) bool {
	return s.AutoRenewStatus != nil && *s.AutoRenewStatus == on
}

// priceIncrease is "0" while a price increase waits for the customer's consent,
// "1" once it was given or was not needed, and empty without one.
func (s Subscription) priceIncrease() string {
	return cmp.Or(s.PriceConsentStatus, s.PriceIncreaseStatus)
}

// scheduled reports whether another product than before is planned for the next
// period: also the present one, where a planned change was withdrawn. That a new
// period is planned to go on as it is goes without saying.
func (s *story) scheduled() bool {
	was, is := s.before.AutoRenewProductID, s.after.AutoRenewProductID
	isTold := is == s.after.ProductID && (s.isNewPeriod() || s.before.ProductID != is)
	return was != "" && is != "" && was != is && !isTold
}

// isNewPeriod reports whether another period was bought. One that was bought
// before the old one is what a refund has left, and one that is known to be
// refunded never began.
func (s *story) isNewPeriod() bool {
	return !s.before.isSamePeriod(s.after) && !s.after.PurchaseDate.Before(s.before.PurchaseDate) && !s.wasRefunded()
}

// wasRefunded reports whether the period that decides now is one whose revocation
// was told before.
func (s *story) wasRefunded() bool {
	return s.after.Status == StatusRevoked && slices.ContainsFunc(s.before.revoked(), func(r Revocation) bool { return r.isOf(s.after) })
}

// isUpgrade reports whether the new period replaced a paid one at once.
func (s *story) isUpgrade() bool {
	return s.before.Status == StatusActive && s.before.ProductID != s.after.ProductID &&
		s.after.PurchaseDate.Before(s.before.ExpiresDate)
}

// isBoughtAgain reports whether the old period was revoked before the new one
// was bought.
func (s *story) isBoughtAgain() bool {
	return slices.ContainsFunc(s.after.revoked(), func(r Revocation) bool {
		return r.isOf(s.before) && !r.RevocationDate.After(s.after.PurchaseDate)
	})
}

// periodEvent is what brought the period, empty where it is the old one.
func (s *story) periodEvent() EventType {
	before, after := s.before, s.after
	switch {
	case before.isSamePeriod(after) && after.ExpiresDate.After(before.ExpiresDate) && !s.wasRefunded():
		return EventExtended
	case !s.isNewPeriod():
		return ""
	case before.Status == StatusRevoked, s.isBoughtAgain():
		return EventResubscribed
	case s.isUpgrade():
		return ""
	case before.Status == StatusGracePeriod, before.Status == StatusBillingRetry:
		return EventRecovered
	case before.Status == StatusExpired && (before.ExpirationIntent != "" || after.PurchaseDate.Sub(before.ExpiresDate) > renewalGap):
		return EventResubscribed
	}
	return EventRenewed
}

// periodDate is when the new period was bought; an extension has no date.
func (s *story) periodDate() time.Time {
	if s.before.isSamePeriod(s.after) {
		return time.Time{}
	}
	return s.after.PurchaseDate
}

// boughtWith describes the trial and the offer of a new period that came by an
// event. An offer may run over several periods, and is redeemed once.
func (s *story) boughtWith(before Subscription, by EventType) {
	after := s.after
	anew := by == EventStarted || by == EventResubscribed
	isOffer := after.OfferType != "" && (after.OfferType != OfferIntroductory || !after.IsTrialPeriod)
	isOther := after.OfferType != before.OfferType || after.OfferID != before.OfferID
	s.addIf(isOffer && (anew || isOther), EventOfferRedeemed, after.PurchaseDate)
	s.addIf(after.IsTrialPeriod && (anew || !before.IsTrialPeriod), EventTrialStarted, after.PurchaseDate)
	s.addIf(before.IsTrialPeriod && !after.IsTrialPeriod && !anew, EventTrialConverted, after.PurchaseDate)
}

// revocations describes the chosen periods that were revoked or given back.
func (s *story) revocations(chosen func(Revocation) bool) {
	was, is := s.before.revoked(), s.after.revoked()
	for _, r := range was {
		if chosen(r) && !slices.ContainsFunc(is, r.isSame) {
			s.told = append(s.told, Change{EventRefundReversed, r.TransactionID, r.ProductID, time.Time{}})
		}
	}
	for _, r := range is {
		if chosen(r) && !slices.ContainsFunc(was, r.isSame) {
			s.told = append(s.told, Change{s.lost(), r.TransactionID, r.ProductID, r.RevocationDate})
		}
	}
}

// revoked is Revocations, which has the period that decides at least.
func (s Subscription) revoked() []Revocation {
	r := Revocation{
		TransactionID: s.TransactionID, WebOrderLineItemID: s.WebOrderLineItemID, ProductID: s.ProductID,
		RevocationDate: s.RevocationDate, RevocationReason: s.RevocationReason,
	}
	if s.Status != StatusRevoked || slices.ContainsFunc(s.Revocations, r.isSame) {
		return s.Revocations
	}
	return append(slices.Clone(s.Revocations), r)
}

// lost is what a revocation is called.
func (s *story) lost() EventType {
	if s.after.InAppOwnershipType == OwnershipFamilyShared {
		return EventFamilyAccessLost
	}
	return EventRefunded
}

// status adds a change of status that the period and the revocations do not explain.
func (s *story) status(period EventType) {
	since, after := s.before.Status, s.after
	if s.isNewPeriod() || period != "" || s.isGivenBack() {
		since = StatusActive
	}
	if since == after.Status {
		return
	}
	switch after.Status {
	case StatusExpired:
		s.add(EventExpired, s.expiredAt(since))
	case StatusGracePeriod:
		s.add(EventEnteredGracePeriod, after.ExpiresDate)
	case StatusBillingRetry:
		s.add(EventEnteredBillingRetry, cmp.Or(after.GracePeriodExpiresDate, after.ExpiresDate))
	case StatusRevoked:
		// The refund was told before, of a period that was not the one in
		// which the customer was. What ends now is that one.
		s.addIf(s.wasRefunded(), EventExpired, s.before.ExpiresDate)
	case StatusActive:
		back := EventRecovered
		if since == StatusExpired || since == StatusRevoked {
			back = EventResubscribed
		}
		s.add(back, time.Time{})
	}
}

// isGivenBack reports whether the period that was revoked is so no more.
func (s *story) isGivenBack() bool {
	return s.before.Status == StatusRevoked && !slices.ContainsFunc(s.after.revoked(), func(r Revocation) bool { return r.isOf(s.before) })
}

// expiredAt is the end of the period, unless Apple tried to collect a payment
// after it: when Apple gave up it does not say.
func (s *story) expiredAt(since Status) time.Time {
	if since != StatusActive || s.after.ExpirationIntent == IntentBillingError {
		return time.Time{}
	}
	return s.after.ExpiresDate
}
