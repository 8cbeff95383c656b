package iap

import "time"

// EventType names one kind of change of a subscription or purchase.
type EventType string

// The kinds of changes. Each state change of a subscription is one of them.
const (
	EventStarted             EventType = "started"
	EventRenewed             EventType = "renewed"
	EventRecovered           EventType = "recovered"
	EventResubscribed        EventType = "resubscribed"
	EventExtended            EventType = "extended"
	EventExpired             EventType = "expired"
	EventEnteredGracePeriod  EventType = "entered_grace_period"
	EventEnteredBillingRetry EventType = "entered_billing_retry"
	EventRefunded            EventType = "refunded"
	EventRefundReversed      EventType = "refund_reversed"
	EventFamilyAccessLost    EventType = "family_access_lost"
	EventProductChanged      EventType = "product_changed"
	EventAutoRenewDisabled   EventType = "auto_renew_disabled"
	EventAutoRenewEnabled    EventType = "auto_renew_enabled"
	// EventPurchased is a one-time purchase seen for the first time.
	EventPurchased EventType = "purchased"
)

// renewalGap is the longest time between two periods that still counts as one
// renewal. Apple normally renews before expiry, but short gaps happen.
const renewalGap = 24 * time.Hour

// Supersedes reports whether after may replace before: only facts that are
// newer in Apple's time move a subscription.
func Supersedes(before, after time.Time) bool { return after.After(before) }

// Changes names what happened between two states of one subscription, in the
// order in which a person would tell it. A nil before means that the
// subscription was not known. Equal states have no changes, and the caller has
// checked with Supersedes that after is newer.
func Changes(before *Subscription, after Subscription) []EventType {
	if before == nil {
		return []EventType{EventStarted}
	}
	var events []EventType
	add := func(e EventType, when bool) {
		if when {
			events = append(events, e)
		}
	}
	if e, changed := periodChange(*before, after); changed {
		events = append(events, e)
	}
	if e, changed := statusChange(*before, after); changed {
		events = append(events, e)
	}
	add(EventProductChanged, before.ProductID != after.ProductID)
	if before.AutoRenewStatus != nil && after.AutoRenewStatus != nil {
		add(EventAutoRenewDisabled, *before.AutoRenewStatus && !*after.AutoRenewStatus)
		add(EventAutoRenewEnabled, !*before.AutoRenewStatus && *after.AutoRenewStatus)
	}
	return events
}

// periodChange tells what brought a later expiry.
func periodChange(before, after Subscription) (EventType, bool) {
	if after.Status == StatusRevoked || !after.ExpiresDate.After(before.ExpiresDate) {
		return "", false
	}
	gap := after.PurchaseDate.Sub(before.ExpiresDate)
	switch {
	case before.TransactionID == after.TransactionID:
		return EventExtended, true
	case before.Status == StatusGracePeriod, before.Status == StatusBillingRetry:
		return EventRecovered, true
	case before.Status == StatusExpired && gap > renewalGap, before.Status == StatusRevoked:
		return EventResubscribed, true
	}
	return EventRenewed, true
}

// statusChange tells of a status that the new period does not explain.
func statusChange(before, after Subscription) (EventType, bool) {
	if before.Status == after.Status {
		return "", false
	}
	switch after.Status {
	case StatusExpired:
		return EventExpired, true
	case StatusGracePeriod:
		return EventEnteredGracePeriod, true
	case StatusBillingRetry:
		return EventEnteredBillingRetry, true
	case StatusRevoked:
		if after.InAppOwnershipType == OwnershipFamilyShared {
			return EventFamilyAccessLost, true
		}
		return EventRefunded, true
	}
	switch {
	case after.ExpiresDate.After(before.ExpiresDate):
		return "", false // the new period says it already
	case before.Status != StatusRevoked:
		return EventRecovered, true
	case before.TransactionID == after.TransactionID:
		return EventRefundReversed, true
	}
	return EventResubscribed, true
}

// PurchaseChanges is Changes for a one-time purchase.
func PurchaseChanges(before *Purchase, after Purchase) []EventType {
	switch {
	case before == nil && after.RevocationDate.IsZero():
		return []EventType{EventPurchased}
	case before == nil:
		return []EventType{EventPurchased, EventRefunded}
	case before.RevocationDate.IsZero() && !after.RevocationDate.IsZero():
		return []EventType{EventRefunded}
	case !before.RevocationDate.IsZero() && after.RevocationDate.IsZero():
		return []EventType{EventRefundReversed}
	}
	return nil
}
