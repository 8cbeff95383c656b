package iap

import (
	"fmt"
	"slices"
	"time"
)

// EventType names one kind of change of a subscription or purchase.
type EventType string

// The kinds of changes. docs/events.md tells when each is written.
const (
	// What came first, or came again.
	EventStarted      EventType = "started"
	EventRenewed      EventType = "renewed"
	EventRecovered    EventType = "recovered" // a failed payment was collected
	EventResubscribed EventType = "resubscribed"
	EventExtended     EventType = "extended" // the same period ends later

	// What a period was bought with, told next to how it came.
	EventTrialStarted   EventType = "trial_started"
	EventTrialConverted EventType = "trial_converted"
	EventOfferRedeemed  EventType = "offer_redeemed"

	// What ended or is not certain.
	EventEnteredGracePeriod  EventType = "entered_grace_period"
	EventEnteredBillingRetry EventType = "entered_billing_retry"
	EventExpired             EventType = "expired"

	// What was taken back, of any period.
	EventRefunded         EventType = "refunded"
	EventRefundReversed   EventType = "refund_reversed"
	EventFamilyAccessLost EventType = "family_access_lost"

	// What the customer or the developer chose.
	EventProductChanged         EventType = "product_changed"
	EventProductChangeScheduled EventType = "product_change_scheduled"
	EventAutoRenewDisabled      EventType = "auto_renew_disabled"
	EventAutoRenewEnabled       EventType = "auto_renew_enabled"
	EventPriceIncreasePending   EventType = "price_increase_pending"
	EventPriceIncreaseAccepted  EventType = "price_increase_accepted"

	// EventPurchased is a new one-time purchase.
	EventPurchased EventType = "purchased"
)

// EventTypes lists every EventType.
func EventTypes() []EventType {
	return []EventType{
		EventStarted, EventRenewed, EventRecovered, EventResubscribed, EventExtended,
		EventTrialStarted, EventTrialConverted, EventOfferRedeemed,
		EventEnteredGracePeriod, EventEnteredBillingRetry, EventExpired,
		EventRefunded, EventRefundReversed, EventFamilyAccessLost,
		EventProductChanged, EventProductChangeScheduled, EventAutoRenewDisabled, EventAutoRenewEnabled,
		EventPriceIncreasePending, EventPriceIncreaseAccepted, EventPurchased,
	}
}

// Validate reports a value that is none of the types.
func (e EventType) Validate() error {
	if slices.Contains(EventTypes(), e) {
		return nil
	}
	return fmt.Errorf("event type %q: want one of %v", string(e), EventTypes())
}

// Change is one thing that happened to a subscription or purchase.
type Change struct {
	Type EventType
	// TransactionID and ProductID are of the period that the change is about,
	// which for a refund may be an older one.
	TransactionID string
	ProductID     string
	// At is when it happened, where Apple dates it, and else zero.
	At time.Time
}
