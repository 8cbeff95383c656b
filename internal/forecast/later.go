package forecast

import (
	"slices"
	"time"

	"revalidator/internal/iap"
)

const (
	day = 24 * time.Hour
	// billingRetryFor is how long Apple tries a failed payment.
	// https://developer.apple.com/documentation/storekit/in-app_purchase/reducing_involuntary_subscriber_churn
	billingRetryFor = 60 * day
	// renewalShows is how long before expiry a renewal shows: Apple renews within
	// the last 24 hours, and this is the middle of them.
	// https://developer.apple.com/forums/thread/121084
	renewalShows = 12 * time.Hour
	// unknownPeriod stands in for the length of a period that is not known.
	unknownPeriod = 30 * day
)

// later is what Apple would show at a time if nothing new happened since c: no
// payment fails or recovers, and nobody refunds, changes their mind or comes
// back. c is left as it is.
func later(c iap.Conclusion, at time.Time) iap.Conclusion {
	subscriptions := c.Subscriptions
	for i, s := range c.Subscriptions {
		moved, ok := moveOn(s, at)
		if !ok {
			continue
		}
		if &subscriptions[0] == &c.Subscriptions[0] {
			subscriptions = slices.Clone(subscriptions)
		}
		subscriptions[i] = moved
	}
	return iap.Conclusion{Subscriptions: subscriptions, Purchases: c.Purchases}
}

// moveOn is a subscription at a time; ok is false where it is as it was.
func moveOn(s iap.Subscription, at time.Time) (moved iap.Subscription, ok bool) {
	if s.Status == iap.StatusActive && renews(s) && !at.Before(s.ExpiresDate.Add(-renewalShows)) {
		return renewed(s, at), true
	}
	if s.Status == iap.StatusActive && !renews(s) && !at.Before(s.ExpiresDate) {
		s.Status, s.ExpirationIntent, ok = iap.StatusExpired, iap.IntentCustomerCancelled, true
	}
	if s.Status == iap.StatusGracePeriod && !at.Before(s.GracePeriodExpiresDate) {
		s.Status, ok = iap.StatusBillingRetry, true
	}
	if s.Status == iap.StatusBillingRetry && !at.Before(s.ExpiresDate.Add(billingRetryFor)) {
		s.Status, s.ExpirationIntent, s.IsInBillingRetryPeriod, ok = iap.StatusExpired, iap.IntentBillingError, false, true
	}
	return s, ok
}

// renews reports whether the next period follows by itself. In the sandbox it
// does so twelve times at most, minutes apart, which is over by the next run.
// https://developer.apple.com/help/app-store-connect/test-in-app-purchases-main/manage-sandbox-apple-account-settings
func renews(s iap.Subscription) bool {
	return s.Environment != iap.Sandbox && (s.AutoRenewStatus == nil || *s.AutoRenewStatus)
}

// renewed is a subscription in the period that lies around a time, where all of
// them are as long as the one that it is in.
func renewed(s iap.Subscription, at time.Time) iap.Subscription {
	period := s.ExpiresDate.Sub(s.PurchaseDate)
	if s.PurchaseDate.IsZero() || period <= 0 {
		period = unknownPeriod
	}
	if s.IsTrialPeriod {
		// What follows a trial is as long as is paid for, which is not known.
		period, s.IsTrialPeriod, s.OfferType = unknownPeriod, false, ""
	}
	over := max(at.Sub(s.ExpiresDate)+renewalShows, 0) / period
	s.PurchaseDate = s.ExpiresDate.Add(over * period)
	s.ExpiresDate = s.PurchaseDate.Add(period)
	return s
}
