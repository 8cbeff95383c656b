package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// text prints the report for people: what the receipt says, then what Apple
// says, which is the one to believe.
func (r checkReport) text(out printer, now time.Time) func(io.Writer) error {
	return func(w io.Writer) error {
		out.out = w
		s := sheet{printer: out, now: now, label: 15}
		if r.Receipt != nil {
			s.receipt(*r.Receipt)
		}
		if r.Answer != nil {
			if r.Receipt != nil {
				fmt.Fprintln(w)
			}
			s.answer(*r.Answer)
			holdings(out, r.Answer.Subscriptions, r.Answer.Purchases, now)
		}
		return nil
	}
}

func (s sheet) receipt(r receiptReport) {
	name := kindText(r.Kind)
	if r.ID != nil {
		name = fmt.Sprintf("%d, %s", *r.ID, name)
	}
	s.sentence("Receipt", "%s, %s bytes", name, humanize.Comma(int64(r.ByteSize)))
	s.sentence("App", "%s", appText(r))
	s.sentence("Environment", "%s", strings.TrimSpace(cmp.Or(string(r.Environment), "not named")+" "+receiptTypeText(r)))
	s.warnings(r.Warnings)
	s.dateIf("Created", r.CreationDate)
	s.dateIf("App since", r.OriginalPurchaseDate)
	s.dateIf("Valid until", r.ExpirationDate)
	fits := "fits verifyReceipt"
	if !r.FitsVerifyReceipt {
		fits = s.paint(red, "too large for verifyReceipt")
	}
	s.sentence("Request", "%s bytes, %s", humanize.Comma(r.RequestBytes), fits)
	s.sentence("Purchases", "%s", recordsText(r))
	for i, p := range r.Products {
		if i == maxPurchases {
			s.sentence("", "and %d more products: see them all with --json", len(r.Products)-i)
			return
		}
		s.sentence("", "%s", productText(p))
	}
}

func kindText(k iap.ReceiptKind) string {
	switch k {
	case iap.KindAppReceipt:
		return "app receipt"
	case iap.KindTransactionReceipt:
		return "transaction receipt of iOS 6"
	case iap.KindXcode:
		return "receipt of Xcode's StoreKit testing"
	}
	return words(string(k))
}

func appText(r receiptReport) string {
	text := cmp.Or(r.BundleID, "not named")
	if r.ApplicationVersion != "" {
		text += ", version " + r.ApplicationVersion
	}
	if r.OriginalApplicationVersion != "" && r.OriginalApplicationVersion != r.ApplicationVersion {
		text += ", first installed as " + r.OriginalApplicationVersion
	}
	return text
}

func receiptTypeText(r receiptReport) string {
	if r.EnvironmentAssumed {
		return "(assumed: the receipt names none)"
	}
	if r.ReceiptType == "" || r.ReceiptType == string(r.Environment) {
		return ""
	}
	return "(" + r.ReceiptType + ")"
}

func recordsText(r receiptReport) string {
	switch {
	case r.Error != "":
		return "not readable: " + r.Error
	case r.InApp == 0:
		return "none"
	}
	return humanize.Comma(int64(r.InApp)) + " as of the receipt, which may have changed since:"
}

func productText(p productReport) string {
	text := p.ProductID
	if text == "" {
		text = "without a product"
		if p.TransactionID != "" {
			text += ", transaction " + p.TransactionID
		}
	}
	if p.Transactions > 1 {
		text += fmt.Sprintf(", %d times", p.Transactions)
	}
	switch {
	case p.ExpiresDate != nil:
		return text + ", until " + when(*p.ExpiresDate)
	case p.PurchaseDate != nil:
		return text + ", bought " + when(*p.PurchaseDate)
	}
	return text
}

func (s sheet) answer(a answerReport) {
	switch {
	case a.Code == nil:
		s.sentence("Apple", "%s", s.paint(red, "no usable answer: ")+a.Error)
	case a.Accepted:
		s.sentence("Apple says", "%s %s", s.paint(green, appstore.Code(*a.Code).String()), environmentText(a.Environment))
	default:
		s.sentence("Apple says", "%s %s", s.paint(red, appstore.Code(*a.Code).String()), environmentText(a.Environment))
	}
	s.sentence("", "%s", a.Meaning)
	if a.Code != nil && !a.Accepted && (*a.Code == int(appstore.CodeOK) || *a.Code == int(appstore.CodeSubscriptionExpired)) {
		s.sentence("But", "%s", a.Error)
	}
	s.retryable(a.Retryable)
	s.sentence("Failure class", "%s", a.FailureClass)
	s.warnings(a.Warnings)
	s.sentence("App", "%s", a.BundleID)
	switch {
	case a.AsOf != nil:
		s.date("As of", *a.AsOf)
	case a.Accepted:
		s.sentence("As of", "the reply does not say: judged by the present time")
	}
	for _, id := range a.Undated {
		s.sentence("Undated", "subscription %s: the reply does not say when its newest period ends, so that it tells nothing of it", id)
	}
	if a.Accepted && len(a.Subscriptions)+len(a.Purchases)+len(a.Undated) == 0 {
		s.sentence("Purchases", "none")
	}
}

func (s sheet) warnings(texts []string) {
	for _, text := range texts {
		s.sentence("Warning", "%s", s.paint(yellow, text))
	}
}

// retryable says what Apple said about asking again.
func (s sheet) retryable(r *bool) {
	switch {
	case r == nil:
	case *r:
		s.sentence("", "Apple says that asking again may help.")
	default:
		s.sentence("", "Apple says that asking again is of no use.")
	}
}
