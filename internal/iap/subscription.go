package iap

import "time"

// SubscriptionKey names a subscription: Apple's ids are unique only within an
// app and an environment.
type SubscriptionKey struct {
	BundleID              string      `json:"bundle_id"`
	Environment           Environment `json:"environment"`
	OriginalTransactionID string      `json:"original_transaction_id"`
}

// Subscription is what is known of one subscription at AsOf. Its JSON names
// are the columns of the table subscriptions; zero values are left out, and
// are NULL there. Every time is in UTC.
type Subscription struct {
	SubscriptionKey

	Status                      Status `json:"status"`
	ProductID                   string `json:"product_id"`
	SubscriptionGroupIdentifier string `json:"subscription_group_identifier,omitempty"`

	// TransactionID, WebOrderLineItemID, PurchaseDate and ExpiresDate are of the
	// period that decided the status. A period can have several transaction ids;
	// its web order line item id is the same for all of them.
	TransactionID      string    `json:"transaction_id"`
	WebOrderLineItemID string    `json:"web_order_line_item_id,omitempty"`
	PurchaseDate       time.Time `json:"purchase_date,omitzero"`
	ExpiresDate        time.Time `json:"expires_date"`
	// OriginalPurchaseDate is when the customer first bought the subscription:
	// the earliest date that any record of it gives, because records disagree.
	OriginalPurchaseDate time.Time `json:"original_purchase_date,omitzero"`

	// GracePeriodExpiresDate is until when a customer whose payment failed
	// keeps the service.
	GracePeriodExpiresDate time.Time `json:"grace_period_expires_date,omitzero"`
	// IsInBillingRetryPeriod is true while Apple retries the payment, also
	// during the grace period.
	IsInBillingRetryPeriod bool             `json:"is_in_billing_retry_period"`
	ExpirationIntent       ExpirationIntent `json:"expiration_intent,omitempty"`

	// AutoRenewStatus is nil where the source did not say. It is not an
	// entitlement.
	AutoRenewStatus *bool `json:"auto_renew_status,omitempty"`
	// AutoRenewProductID is the product of the next period.
	AutoRenewProductID string `json:"auto_renew_product_id,omitempty"`

	// OfferType and OfferID describe the offer of the current period.
	// IsTrialPeriod is an axis of its own: a promotional offer or an offer
	// code can be free as well.
	OfferType     OfferType `json:"offer_type,omitempty"`
	OfferID       string    `json:"offer_id,omitempty"`
	IsTrialPeriod bool      `json:"is_trial_period"`

	InAppOwnershipType  OwnershipType `json:"in_app_ownership_type,omitempty"`
	PriceConsentStatus  string        `json:"price_consent_status,omitempty"`
	PriceIncreaseStatus string        `json:"price_increase_status,omitempty"`
	AppAccountToken     string        `json:"app_account_token,omitempty"`

	// RevocationDate is set where the period was refunded or withdrawn from
	// Family Sharing, with Apple's reason ("0" or "1").
	RevocationDate   time.Time `json:"revocation_date,omitzero"`
	RevocationReason string    `json:"revocation_reason,omitempty"`
	// Revocations are all periods that were refunded or withdrawn, ordered by
	// id, whether the subscription goes on or not. Facts without old
	// transactions do not show the older of them; Merge keeps those.
	Revocations []Revocation `json:"revocations,omitempty"`
	// IsUpgraded is true where the customer moved to another product of the
	// group and nothing else is left of this subscription.
	IsUpgraded bool `json:"is_upgraded"`

	// UnshownReplies is how many replies in a row, of as many days, did not show
	// the subscription after its end, and UnshownAt Apple's time of the last.
	UnshownReplies int       `json:"unshown_replies,omitempty"`
	UnshownAt      time.Time `json:"unshown_at,omitzero"`

	// AsOf is Apple's time of the newest facts behind this state, and ToldAt
	// that of each group of them.
	AsOf time.Time `json:"as_of"`
	ToldAt
	// Tells is which groups the facts show, and Evidence what they show. Both
	// are for Merge and not stored.
	Tells    Groups   `json:"-"`
	Evidence Evidence `json:"-"`
}

// Revocation is a period that was refunded or withdrawn from Family Sharing.
type Revocation struct {
	TransactionID      string    `json:"transaction_id"`
	WebOrderLineItemID string    `json:"web_order_line_item_id,omitempty"`
	ProductID          string    `json:"product_id"`
	RevocationDate     time.Time `json:"revocation_date"`
	RevocationReason   string    `json:"revocation_reason,omitempty"`
	// UnrevokedSince is Apple's time of the first of the last replies in a row
	// that show the period as paid, zero where the last one does not.
	UnrevokedSince time.Time `json:"unrevoked_since,omitzero"`
}

// Evidence is which periods the facts behind a state show. The zero value is of
// facts that show none.
type Evidence struct {
	seen         *sightings
	subscription idNumber
}

// shows reports whether the facts show a period of the subscription, by its
// transaction id or its web order line item id, and paid whether as it is now and
// without a revocation.
func (e Evidence) shows(transactionID, webOrderLineItemID string) (shown, paid bool) {
	if e.seen == nil {
		return false, false
	}
	p := e.seen.find(transactionID)
	if p.id == 0 {
		p = e.seen.findPeriod(e.subscription, webOrderLineItemID)
	}
	if p.id == 0 || !p.isDated() || e.seen.originalID(p) != e.subscription {
		return false, false
	}
	return true, e.seen.isCurrent(p) && !p.isRevoked() && !e.seen.isUndated(p)
}

// Key names the subscription.
func (s Subscription) Key() SubscriptionKey { return s.SubscriptionKey }

// status is that of Apple's five that the other fields amount to at AsOf. Grace
// beats billing retry, because Apple sets the retry flag in the grace period
// too, and the retry flag needs no expiration intent next to it.
// https://developer.apple.com/documentation/appstoreserverapi/status
func (s Subscription) status() Status {
	switch {
	case s.IsUpgraded:
		return StatusExpired
	case !s.RevocationDate.IsZero():
		return StatusRevoked
	case s.ExpiresDate.After(s.AsOf):
		return StatusActive
	case s.GracePeriodExpiresDate.After(s.AsOf):
		return StatusGracePeriod
	case s.IsInBillingRetryPeriod:
		return StatusBillingRetry
	}
	return StatusExpired
}

// OfferType is the kind of offer that a period was bought with.
// https://developer.apple.com/documentation/appstoreserverapi/offertype
type OfferType string

// The offer types that verifyReceipt tells apart. It has no field for a win-back
// offer, whose identifier comes as that of a promotional one, if it comes.
const (
	OfferIntroductory OfferType = "introductory"
	OfferPromotional  OfferType = "promotional"
	OfferCode         OfferType = "offer_code"
)

// Purchase is a one-time purchase, worth watching because it can be refunded.
// Its JSON names are the columns of the table purchases.
type Purchase struct {
	BundleID              string        `json:"bundle_id"`
	Environment           Environment   `json:"environment"`
	TransactionID         string        `json:"transaction_id"`
	OriginalTransactionID string        `json:"original_transaction_id"`
	ProductID             string        `json:"product_id"`
	PurchaseDate          time.Time     `json:"purchase_date,omitzero"`
	Quantity              int           `json:"quantity,omitempty"`
	InAppOwnershipType    OwnershipType `json:"in_app_ownership_type,omitempty"`
	RevocationDate        time.Time     `json:"revocation_date,omitzero"`
	RevocationReason      string        `json:"revocation_reason,omitempty"`
	// UnrevokedSince is that of Revocation.
	UnrevokedSince time.Time `json:"unrevoked_since,omitzero"`
	AsOf           time.Time `json:"as_of"`
	// Stale is whether the facts show the purchase only as it was when the
	// receipt was signed. It is for MergePurchase and not stored.
	Stale bool `json:"-"`
}
