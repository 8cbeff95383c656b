package report

import (
	"cmp"
	"strings"
	"time"

	"revalidator/internal/iap"
)

// StatusText says what the status of a subscription means.
func StatusText(o iap.Subscription, now time.Time) string {
	switch o.Status {
	case iap.StatusActive:
		if !o.ExpiresDate.After(now) {
			return "entitled then; the period has ended since, check again"
		}
		return "entitled"
	case iap.StatusGracePeriod:
		return "entitled; a payment failed, and the service stays on while Apple keeps trying"
	case iap.StatusBillingRetry:
		return "not entitled; a payment failed, and Apple keeps trying for up to 60 days"
	case iap.StatusRevoked:
		return "not entitled; refunded, or withdrawn from Family Sharing"
	}
	if o.IsUpgraded {
		return "not entitled by this one; replaced by an upgrade"
	}
	return "not entitled"
}

// RevocationText says why a subscription was revoked, where it was.
func RevocationText(o iap.Subscription) string {
	switch {
	case o.RevocationDate.IsZero():
		return ""
	case o.InAppOwnershipType == iap.OwnershipFamilyShared:
		return "the family does not share it any more, or it was refunded"
	}
	return RefundReason(o.RevocationReason)
}

// RefundReason is Apple's cancellation_reason in words.
// https://developer.apple.com/documentation/appstorereceipts/cancellation_reason
func RefundReason(reason string) string {
	switch reason {
	case "":
		return "Apple gave none"
	case "0":
		return "another reason, such as a purchase by accident (0)"
	case "1":
		return "an actual or perceived problem with the app (1)"
	}
	return "unknown (" + reason + ")"
}

// RenewalText says whether a subscription is set to renew, where that is known.
func RenewalText(o iap.Subscription) string {
	switch {
	case o.AutoRenewStatus == nil:
		return ""
	case !*o.AutoRenewStatus:
		return "off"
	case o.AutoRenewProductID != "" && o.AutoRenewProductID != o.ProductID:
		return "on, then as " + o.AutoRenewProductID
	}
	return "on"
}

// IntentText is Apple's expiration_intent in words.
// https://developer.apple.com/documentation/appstorereceipts/expiration_intent
func IntentText(intent iap.ExpirationIntent) string {
	switch intent {
	case "":
		return ""
	case iap.IntentCustomerCancelled:
		return "the customer turned renewal off (1)"
	case iap.IntentBillingError:
		return "the payment failed (2)"
	case iap.IntentPriceIncrease:
		return "the customer did not consent to a price increase (3)"
	case iap.IntentProductNotAvailable:
		return "the product was not available any more (4)"
	}
	return "for a reason that Apple does not know (" + string(intent) + ")"
}

// OfferText is the offer of the period, where there is one.
func OfferText(o iap.Subscription) string {
	kind := strings.ReplaceAll(string(o.OfferType), "_", " ")
	switch {
	case o.OfferType == iap.OfferIntroductory && o.IsTrialPeriod:
		return "introductory, a free trial"
	case o.OfferID != "":
		kind += " " + o.OfferID
	}
	if o.IsTrialPeriod {
		kind += ", free"
	}
	return kind
}

// PriceText says whether a price increase waits, where that is known.
func PriceText(o iap.Subscription) string {
	switch cmp.Or(o.PriceConsentStatus, o.PriceIncreaseStatus) {
	case "0":
		return "an increase waits for the customer's consent"
	case "1":
		return "the customer knows of an increase, and has consented where needed"
	}
	return ""
}

// OwnershipText says who pays, where it is not the customer.
func OwnershipText(o iap.OwnershipType) string {
	switch o {
	case "", iap.OwnershipPurchased:
		return ""
	case iap.OwnershipFamilyShared:
		return "through Family Sharing: another member of the family pays"
	}
	return string(o)
}
