package signed

import (
	"encoding/json"
	"time"

	"revalidator/internal/iap"
)

// RenewalInfo is a JWSRenewalInfoDecodedPayload: what Apple plans for the next
// period of a subscription. It names no app; its transaction does.
// https://developer.apple.com/documentation/appstoreserverapi/jwsrenewalinfodecodedpayload
type RenewalInfo struct {
	Common

	OriginalTransactionID string
	AppTransactionID      string
	Environment           iap.Environment

	ProductID          string
	AutoRenewProductID string
	// AutoRenewStatus is 0 off, 1 on.
	AutoRenewStatus *int64
	// ExpirationIntent is 1 to 5 once the subscription has expired.
	ExpirationIntent       *int64
	IsInBillingRetryPeriod *bool
	GracePeriodExpiresDate time.Time
	// PriceIncreaseStatus is 0 while a price increase waits for consent, else 1.
	PriceIncreaseStatus *int64

	// The offer is that of the next period.
	OfferType         *int64
	OfferIdentifier   string
	OfferDiscountType string
	OfferPeriod       string
	// EligibleWinBackOfferIDs are the win-back offers that the customer may get,
	// the best first.
	EligibleWinBackOfferIDs []string

	// RenewalDate is there for an expired subscription too, and may be past.
	RenewalDate time.Time
	// RenewalPrice is in thousandths of Currency.
	RenewalPrice *int64
	Currency     string
	// RecentSubscriptionStartDate is when the customer began without a gap of
	// more than 60 days. It does not tell for how many days was paid.
	RecentSubscriptionStartDate time.Time
	// AppAccountToken is that of the next period.
	AppAccountToken string

	// RenewalBillingPlanType is BILLED_UPFRONT or MONTHLY.
	RenewalBillingPlanType string
	CommitmentInfo         *RenewalCommitmentInfo
	// AdvancedCommerceInfo is as it came.
	AdvancedCommerceInfo json.RawMessage

	// hasTransactionID tells a transaction, whose fields have the same names.
	hasTransactionID bool
}

// RenewalCommitmentInfo is what follows the commitment of a subscription that
// is billed monthly.
type RenewalCommitmentInfo struct {
	CommitmentAutoRenewProductID     string
	CommitmentAutoRenewStatus        *int64
	CommitmentRenewalBillingPlanType string
	CommitmentRenewalDate            time.Time
	// CommitmentRenewalPrice is in thousandths of the currency.
	CommitmentRenewalPrice *int64
}

func (r *RenewalInfo) decode(payload []byte) {
	d := decoder{where: "renewalInfo"}
	d.object(payload, func(name string, v []byte) { r.field(&d, name, v) })
	r.Unknown = d.unknown
}

func (r *RenewalInfo) field(d *decoder, name string, v []byte) {
	switch name {
	case "originalTransactionId":
		r.OriginalTransactionID = d.text(v)
	case "appTransactionId":
		r.AppTransactionID = d.text(v)
	case "environment":
		r.Environment = iap.Environment(d.text(v))
	case "signedDate":
		r.SignedDate = d.date(name, v)
	case "productId":
		r.ProductID = d.text(v)
	case "autoRenewProductId":
		r.AutoRenewProductID = d.text(v)
	case "autoRenewStatus":
		r.AutoRenewStatus = d.numberOf(name, v, 0, 1)
	case "expirationIntent":
		r.ExpirationIntent = d.numberOf(name, v, 1, 5)
	case "isInBillingRetryPeriod":
		r.IsInBillingRetryPeriod = d.flag(name, v)
	case "gracePeriodExpiresDate":
		r.GracePeriodExpiresDate = d.date(name, v)
	case "priceIncreaseStatus":
		r.PriceIncreaseStatus = d.numberOf(name, v, 0, 1)
	case "offerType":
		r.OfferType = d.offerType(name, v)
	case "offerIdentifier":
		r.OfferIdentifier = d.text(v)
	case "offerDiscountType":
		r.OfferDiscountType = d.discountType(name, v)
	case "offerPeriod":
		r.OfferPeriod = d.text(v)
	case "eligibleWinBackOfferIds":
		d.list(name, v, func(v []byte) { r.EligibleWinBackOfferIDs = append(r.EligibleWinBackOfferIDs, d.text(v)) })
	case "renewalDate":
		r.RenewalDate = d.date(name, v)
	case "renewalPrice":
		r.RenewalPrice = d.number(name, v)
	case "currency":
		r.Currency = d.text(v)
	case "recentSubscriptionStartDate":
		r.RecentSubscriptionStartDate = d.date(name, v)
	case "appAccountToken":
		r.AppAccountToken = d.text(v)
	case "renewalBillingPlanType":
		r.RenewalBillingPlanType = d.billingPlan(name, v)
	case "commitmentInfo":
		r.CommitmentInfo = d.renewalCommitmentInfo(v)
	case "advancedCommerceInfo":
		r.AdvancedCommerceInfo = d.raw(v)
	case "transactionId":
		r.hasTransactionID = true
		d.field(name)
	default:
		d.field(name)
	}
}

func (d *decoder) renewalCommitmentInfo(v []byte) *RenewalCommitmentInfo {
	c := &RenewalCommitmentInfo{}
	d.nested("renewalInfo.commitmentInfo", v, func(d *decoder, name string, v []byte) {
		switch name {
		case "commitmentAutoRenewProductId":
			c.CommitmentAutoRenewProductID = d.text(v)
		case "commitmentAutoRenewStatus":
			c.CommitmentAutoRenewStatus = d.numberOf(name, v, 0, 1)
		case "commitmentRenewalBillingPlanType":
			c.CommitmentRenewalBillingPlanType = d.billingPlan(name, v)
		case "commitmentRenewalDate":
			c.CommitmentRenewalDate = d.date(name, v)
		case "commitmentRenewalPrice":
			c.CommitmentRenewalPrice = d.number(name, v)
		default:
			d.field(name)
		}
	})
	return c
}
