package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

// sheet writes what the program knows of a customer in labelled lines.
type sheet struct{ terminal.Sheet }

// maxPurchases is how many purchases are told of one by one: games leave
// thousands of consumables in a receipt.
const maxPurchases = 20

// holdings prints what a customer has: subscriptions, then one-time purchases.
func holdings(out *terminal.Page, subscriptions []report.Subscription, purchases []iap.Purchase, now time.Time) {
	s := sheet{terminal.Sheet{Page: out, Now: now, Indent: 2, Label: 15}}
	for _, r := range subscriptions {
		s.subscription(r.Subscription)
	}
	for i, p := range purchases {
		if i == maxPurchases {
			out.Printf("\n%d more purchases: see them all with --json\n", len(purchases)-i)
			return
		}
		s.purchase(p)
	}
}

func (s sheet) subscription(o iap.Subscription) {
	s.Printf("\nSubscription %s\n", cmp.Or(o.ProductID, "without a product"))
	s.Row("Status", append([]string{s.status(o.Status) + ":"}, strings.Fields(subscriptionStatus(o, s.Now))...)...)
	s.Date(expiryLabel(o, s.Now), o.ExpiresDate)
	s.Date("Grace until", o.GracePeriodExpiresDate)
	s.Date("Revoked", o.RevocationDate)
	s.Sentence("Reason", "%s", revocationText(o))
	s.Sentence("Renewal", "%s", renewalText(o))
	s.Sentence("Why it ended", "%s", intentText(o.ExpirationIntent))
	s.Sentence("Offer", "%s", offerText(o))
	s.Sentence("Price", "%s", priceText(o))
	s.Sentence("Ownership", "%s", ownershipText(o.InAppOwnershipType))
	s.Date("Period since", o.PurchaseDate)
	s.Date("First bought", o.OriginalPurchaseDate)
	s.Row("Transaction", o.OriginalTransactionID, environmentText(o.Environment))
	s.Date("As of", o.AsOf)
}

// status is a status in words, green where it gives access.
func (s sheet) status(status iap.Status) string {
	color := terminal.Red
	switch {
	case status == iap.StatusActive:
		color = terminal.Green
	case status == iap.StatusGracePeriod, status == iap.StatusBillingRetry:
		color = terminal.Yellow
	}
	return s.Paint(color, phrase.Words(string(status)))
}

func subscriptionStatus(o iap.Subscription, now time.Time) string {
	switch o.Status {
	case iap.StatusActive:
		if !o.ExpiresDate.After(now) {
			return "entitled then; the period has ended since, ask Apple again"
		}
		return "entitled"
	case iap.StatusGracePeriod:
		return "entitled; a payment failed, and the service goes on while Apple keeps trying"
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

func expiryLabel(o iap.Subscription, now time.Time) string {
	if o.ExpiresDate.After(now) {
		return "Expires"
	}
	return "Expired"
}

func revocationText(o iap.Subscription) string {
	switch {
	case o.RevocationDate.IsZero():
		return ""
	case o.InAppOwnershipType == iap.OwnershipFamilyShared:
		return "the family does not share it any more, or it was refunded"
	}
	return refundReason(o.RevocationReason)
}

// refundReason is Apple's cancellation_reason in words.
// https://developer.apple.com/documentation/appstorereceipts/cancellation_reason
func refundReason(reason string) string {
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

func renewalText(o iap.Subscription) string {
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

// intentText is Apple's expiration_intent in words.
// https://developer.apple.com/documentation/appstorereceipts/expiration_intent
func intentText(intent iap.ExpirationIntent) string {
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

func offerText(o iap.Subscription) string {
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

func priceText(o iap.Subscription) string {
	switch cmp.Or(o.PriceConsentStatus, o.PriceIncreaseStatus) {
	case "0":
		return "an increase waits for the customer's consent"
	case "1":
		return "the customer knows of an increase, and has consented where needed"
	}
	return ""
}

func ownershipText(o iap.OwnershipType) string {
	switch o {
	case "", iap.OwnershipPurchased:
		return ""
	case iap.OwnershipFamilyShared:
		return "through Family Sharing: somebody else of the family pays"
	}
	return string(o)
}

func environmentText(e iap.Environment) string {
	if e == "" {
		return ""
	}
	return "(" + string(e) + ")"
}

func (s sheet) purchase(o iap.Purchase) {
	s.Printf("\nPurchase %s\n", cmp.Or(o.ProductID, "without a product"))
	state := s.Paint(terminal.Green, "paid")
	if !o.RevocationDate.IsZero() {
		state = s.Paint(terminal.Red, "refunded or withdrawn")
	}
	if o.Quantity > 1 {
		state += fmt.Sprintf(", %d pieces", o.Quantity)
	}
	s.Row("Status", state)
	s.Date("Bought", o.PurchaseDate)
	s.Date("Revoked", o.RevocationDate)
	if !o.RevocationDate.IsZero() {
		s.Sentence("Reason", "%s", refundReason(o.RevocationReason))
	}
	s.Sentence("Ownership", "%s", ownershipText(o.InAppOwnershipType))
	s.Row("Transaction", o.TransactionID, environmentText(o.Environment))
	s.Date("As of", o.AsOf)
}
