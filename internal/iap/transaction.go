package iap

import "time"

// OwnershipType reports whether the customer bought a product or gets it through
// Family Sharing. Receipts older than 2020 do not carry it: the zero value.
// https://developer.apple.com/documentation/appstorereceipts/in_app_ownership_type
type OwnershipType string

// The ownership types that Apple documents. Others are kept as they came.
const (
	OwnershipPurchased    OwnershipType = "PURCHASED"
	OwnershipFamilyShared OwnershipType = "FAMILY_SHARED"
)

// Transaction is one in-app purchase record as a source of facts reports it.
// Every time is in UTC; the zero time means that Apple sent none.
// https://developer.apple.com/documentation/appstorereceipts/responsebody/latest_receipt_info
type Transaction struct {
	// TransactionID is digits in practice, but Apple promises no format and no
	// length, so it stays text. Each renewal and each restore has its own.
	TransactionID string
	// OriginalTransactionID is the same for all periods of one subscription. A
	// source that omits it means TransactionID.
	OriginalTransactionID string
	// WebOrderLineItemID is the same for all transaction ids of one period of a
	// subscription; empty for other purchases.
	WebOrderLineItemID string

	ProductID                   string
	SubscriptionGroupIdentifier string
	// Quantity is 1 for subscriptions; 0 where Apple sent none.
	Quantity int

	PurchaseDate         time.Time
	OriginalPurchaseDate time.Time
	// ExpiresDate is when the subscription period ends or renews. It is zero
	// for a purchase that is not an auto-renewable subscription, and where the
	// record does not date it.
	ExpiresDate time.Time
	// CancellationDate is when Apple refunded the transaction or revoked it
	// from Family Sharing. Turning off renewal does not set it.
	CancellationDate time.Time
	// CancellationReason is "1" for a problem with the app, "0" for another
	// reason, empty where Apple sent none.
	CancellationReason string
	// IsExpiryUnreadable and IsCancellationUnreadable are whether the record
	// carries such a date in a form that is not known, or that no date can have.
	IsExpiryUnreadable, IsCancellationUnreadable bool

	// IsTrialPeriod and IsInIntroOfferPeriod are what Apple sent; a trial may
	// carry both.
	IsTrialPeriod        bool
	IsInIntroOfferPeriod bool
	// IsUpgraded marks a period that ended early because the customer
	// upgraded to another product of the group.
	IsUpgraded bool

	InAppOwnershipType OwnershipType
	// PromotionalOfferID and OfferCodeRefName name the offer of the period.
	PromotionalOfferID string
	OfferCodeRefName   string
	AppAccountToken    string
}

// IsSubscription reports whether the transaction is a dated period of an
// auto-renewable subscription, which is the one kind that expires. Derive also
// knows undated ones by what else they carry.
func (t Transaction) IsSubscription() bool { return !t.ExpiresDate.IsZero() }

// IsRevoked reports whether Apple refunded the transaction or withdrew it.
func (t Transaction) IsRevoked() bool { return !t.CancellationDate.IsZero() }

// RenewalInfo is what Apple plans for the next period of one subscription. The
// pointers are nil where Apple sent nothing, because 0 is a value of its own.
// https://developer.apple.com/documentation/appstorereceipts/responsebody/pending_renewal_info
type RenewalInfo struct {
	// OriginalTransactionID ties the entry to its subscription. Some replies
	// omit it: then ProductID does, and in iOS 6 style replies, which carry
	// one subscription, neither is there.
	OriginalTransactionID string
	ProductID             string
	// AutoRenewProductID is the product of the next period. It differs from
	// ProductID when a downgrade or crossgrade is scheduled.
	AutoRenewProductID string
	// AutoRenewStatus is whether the subscription is set to renew. It is not
	// an entitlement.
	AutoRenewStatus *bool
	// ExpirationIntent is "1" to "5" once the subscription has expired, else
	// empty; see the ExpirationIntent constants.
	ExpirationIntent ExpirationIntent
	// IsInBillingRetryPeriod is true while Apple retries the payment, also
	// during the grace period.
	IsInBillingRetryPeriod *bool
	// GracePeriodExpiresDate is when the billing grace period ends.
	GracePeriodExpiresDate time.Time
	// PriceConsentStatus is "0" while a price increase waits for consent and
	// "1" once it was given. PriceIncreaseStatus is the same for an increase
	// that may need no consent.
	PriceConsentStatus  string
	PriceIncreaseStatus string
	PromotionalOfferID  string
	OfferCodeRefName    string
}

// ExpirationIntent is why a subscription expired, as Apple's number.
// https://developer.apple.com/documentation/appstorereceipts/expiration_intent
type ExpirationIntent string

// The reasons that Apple documents. Others are kept as they came.
const (
	IntentCustomerCancelled   ExpirationIntent = "1"
	IntentBillingError        ExpirationIntent = "2"
	IntentPriceIncrease       ExpirationIntent = "3"
	IntentProductNotAvailable ExpirationIntent = "4"
	IntentUnknown             ExpirationIntent = "5"
)
