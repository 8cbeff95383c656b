package main

import (
	"cmp"
	"fmt"
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
			out.Printf("\n%d more purchases: see more of them with --json\n", len(purchases)-i)
			return
		}
		s.purchase(p)
	}
}

func (s sheet) subscription(o iap.Subscription) {
	s.Printf("\nSubscription %s\n", cmp.Or(o.ProductID, "without a product"))
	s.Row("Status", append([]string{s.status(o.Status) + ":"}, terminal.Words(report.StatusText(o, s.Now))...)...)
	s.Date(expiryLabel(o, s.Now), o.ExpiresDate)
	s.Date("Grace until", o.GracePeriodExpiresDate)
	s.Date("Revoked", o.RevocationDate)
	s.Sentence("Reason", "%s", report.RevocationText(o))
	s.Sentence("Renewal", "%s", report.RenewalText(o))
	s.Sentence("Why it ended", "%s", report.IntentText(o.ExpirationIntent))
	s.Sentence("Offer", "%s", report.OfferText(o))
	s.Sentence("Price", "%s", report.PriceText(o))
	s.Sentence("Ownership", "%s", report.OwnershipText(o.InAppOwnershipType))
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

func expiryLabel(o iap.Subscription, now time.Time) string {
	if o.ExpiresDate.After(now) {
		return "Expires"
	}
	return "Expired"
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
		s.Sentence("Reason", "%s", report.RefundReason(o.RevocationReason))
	}
	s.Sentence("Ownership", "%s", report.OwnershipText(o.InAppOwnershipType))
	s.Row("Transaction", o.TransactionID, environmentText(o.Environment))
	s.Date("As of", o.AsOf)
}
