package signed

import (
	"encoding/json"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
)

// Common is what every payload carries that was verified.
type Common struct {
	// SignedDate is Apple's time of what the payload says.
	SignedDate time.Time
	// Signer says who signed it.
	Signer pki.Signer
	// Unknown counts fields and values that are not known, by name, at most some
	// 64 of them.
	Unknown map[string]int
}

// Transaction is a JWSTransactionDecodedPayload. A text, a time or a list is
// empty, and a pointer nil, where Apple sent none. Values outside the documented
// ones are kept as they came.
// https://developer.apple.com/documentation/appstoreserverapi/jwstransactiondecodedpayload
type Transaction struct {
	Common

	TransactionID         string
	OriginalTransactionID string
	// PreviousOriginalTransactionID names the subscription that went on as this one.
	PreviousOriginalTransactionID string
	// AppTransactionID is one per Apple account and app.
	AppTransactionID   string
	WebOrderLineItemID string

	BundleID                    string
	ProductID                   string
	SubscriptionGroupIdentifier string
	// Type is "Auto-Renewable Subscription", "Non-Consumable", "Consumable" or
	// "Non-Renewing Subscription".
	Type        string
	Environment iap.Environment

	PurchaseDate         time.Time
	OriginalPurchaseDate time.Time
	ExpiresDate          time.Time
	// IsExpiryUnreadable is whether there is an expiresDate that no date can have.
	IsExpiryUnreadable bool

	// Quantity is the number of seats of a subscription for several.
	Quantity *int64
	// AppAccountToken is the UUID that the app gave to the purchase.
	AppAccountToken    string
	InAppOwnershipType iap.OwnershipType
	// TransactionReason is PURCHASE or RENEWAL. An upgrade is a PURCHASE, and the
	// first period after a downgrade a RENEWAL.
	TransactionReason string
	IsUpgraded        bool

	RevocationDate         time.Time
	IsRevocationUnreadable bool
	// RevocationReason is 0 for another reason and 1 for an issue with the app.
	RevocationReason *int64
	// RevocationType is REFUND_FULL, REFUND_PRORATED, FAMILY_REVOKE or
	// ASSIGNMENT_REVOKE.
	RevocationType string
	// RevocationPercentage is in thousandths of a percent, from 0 to 100,000.
	RevocationPercentage *int64

	// OfferType is 1 introductory, 2 promotional, 3 offer code, 4 win-back,
	// 5 retention. The offer is that of this period.
	OfferType         *int64
	OfferIdentifier   string
	OfferDiscountType string // FREE_TRIAL, PAY_AS_YOU_GO, PAY_UP_FRONT, ONE_TIME
	OfferPeriod       string // of ISO 8601, such as P1W

	// Price is in thousandths of Currency, for the whole Quantity and after the
	// offer. It is not for accounting.
	Price    *int64
	Currency string
	// Storefront is a country in ISO 3166-1 alpha-3.
	Storefront   string
	StorefrontID string

	// BillingPlanType is BILLED_UPFRONT or MONTHLY.
	BillingPlanType string
	CommitmentInfo  *CommitmentInfo
	// AdvancedCommerceInfo is as it came.
	AdvancedCommerceInfo json.RawMessage

	// The device alone can check these.
	DeviceVerification, DeviceVerificationNonce string
}

// CommitmentInfo is the commitment of a subscription that is billed monthly.
type CommitmentInfo struct {
	BillingPeriodNumber   *int64
	TotalBillingPeriods   *int64
	CommitmentExpiresDate time.Time
	// CommitmentPrice is in thousandths of the currency.
	CommitmentPrice *int64
}

// The product types of Transaction.Type.
const (
	TypeAutoRenewable = "Auto-Renewable Subscription"
	TypeNonConsumable = "Non-Consumable"
	TypeConsumable    = "Consumable"
	TypeNonRenewing   = "Non-Renewing Subscription"
)

func (t *Transaction) decode(payload []byte) {
	d := decoder{where: "transaction"}
	d.object(payload, func(name string, v []byte) { t.field(&d, name, v) })
	t.Unknown = d.unknown
}

func (t *Transaction) field(d *decoder, name string, v []byte) {
	switch name {
	case "transactionId":
		t.TransactionID = d.text(v)
	case "originalTransactionId":
		t.OriginalTransactionID = d.text(v)
	case "previousOriginalTransactionId":
		t.PreviousOriginalTransactionID = d.text(v)
	case "appTransactionId":
		t.AppTransactionID = d.text(v)
	case "webOrderLineItemId":
		t.WebOrderLineItemID = d.text(v)
	case "bundleId":
		t.BundleID = d.text(v)
	case "productId":
		t.ProductID = d.text(v)
	case "subscriptionGroupIdentifier":
		t.SubscriptionGroupIdentifier = d.text(v)
	case "type":
		t.Type = d.oneOf(name, v, TypeAutoRenewable, TypeNonConsumable, TypeConsumable, TypeNonRenewing)
	case "environment":
		t.Environment = iap.Environment(d.text(v))
	case "signedDate":
		t.SignedDate = d.date(name, v)
	case "purchaseDate":
		t.PurchaseDate = d.date(name, v)
	case "originalPurchaseDate":
		t.OriginalPurchaseDate = d.date(name, v)
	case "expiresDate":
		t.ExpiresDate = d.date(name, v)
		t.IsExpiryUnreadable = t.ExpiresDate.IsZero()
	case "quantity":
		t.Quantity = d.number(name, v)
	case "appAccountToken":
		t.AppAccountToken = d.text(v)
	case "inAppOwnershipType":
		t.InAppOwnershipType = iap.OwnershipType(d.oneOf(name, v, "PURCHASED", "FAMILY_SHARED", "ASSIGNED"))
	case "transactionReason":
		t.TransactionReason = d.oneOf(name, v, "PURCHASE", "RENEWAL")
	case "isUpgraded":
		upgraded := d.flag(name, v)
		t.IsUpgraded = upgraded != nil && *upgraded
	case "price":
		t.Price = d.number(name, v)
	case "currency":
		t.Currency = d.text(v)
	case "storefront":
		t.Storefront = d.text(v)
	case "storefrontId":
		t.StorefrontID = d.text(v)
	case "billingPlanType":
		t.BillingPlanType = d.billingPlan(name, v)
	case "commitmentInfo":
		t.CommitmentInfo = d.commitmentInfo(v)
	case "advancedCommerceInfo":
		t.AdvancedCommerceInfo = d.raw(v)
	case "deviceVerification":
		t.DeviceVerification = d.text(v)
	case "deviceVerificationNonce":
		t.DeviceVerificationNonce = d.text(v)
	default:
		t.offerField(d, name, v)
	}
}

// offerField reads what is left: the offer and the revocation.
func (t *Transaction) offerField(d *decoder, name string, v []byte) {
	switch name {
	case "revocationDate":
		t.RevocationDate = d.date(name, v)
		t.IsRevocationUnreadable = t.RevocationDate.IsZero()
	case "revocationReason":
		t.RevocationReason = d.numberOf(name, v, 0, 1)
	case "revocationType":
		t.RevocationType = d.oneOf(name, v, "REFUND_FULL", "REFUND_PRORATED", "FAMILY_REVOKE", "ASSIGNMENT_REVOKE")
	case "revocationPercentage":
		t.RevocationPercentage = d.numberOf(name, v, 0, 100_000)
	case "offerType":
		t.OfferType = d.offerType(name, v)
	case "offerIdentifier":
		t.OfferIdentifier = d.text(v)
	case "offerDiscountType":
		t.OfferDiscountType = d.discountType(name, v)
	case "offerPeriod":
		t.OfferPeriod = d.text(v)
	default:
		d.field(name)
	}
}

func (d *decoder) offerType(name string, v []byte) *int64 { return d.numberOf(name, v, 1, 5) }

func (d *decoder) discountType(name string, v []byte) string {
	return d.oneOf(name, v, "FREE_TRIAL", "PAY_AS_YOU_GO", "PAY_UP_FRONT", "ONE_TIME")
}

func (d *decoder) billingPlan(name string, v []byte) string {
	return d.oneOf(name, v, "BILLED_UPFRONT", "MONTHLY")
}

func (d *decoder) commitmentInfo(v []byte) *CommitmentInfo {
	c := &CommitmentInfo{}
	d.nested("commitmentInfo", v, func(d *decoder, name string, v []byte) {
		switch name {
		case "billingPeriodNumber":
			c.BillingPeriodNumber = d.number(name, v)
		case "totalBillingPeriods":
			c.TotalBillingPeriods = d.number(name, v)
		case "commitmentExpiresDate":
			c.CommitmentExpiresDate = d.date(name, v)
		case "commitmentPrice":
			c.CommitmentPrice = d.number(name, v)
		default:
			d.field(name)
		}
	})
	return c
}
