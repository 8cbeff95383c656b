package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"revalidator/internal/appstore"
	"revalidator/internal/check"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

// checkText prints the report for people: what the receipt says, then what Apple
// says, which is the one to believe.
func checkText(out *terminal.Page, r check.Report, now time.Time) {
	s := sheet{terminal.Sheet{Page: out, Now: now, Label: 15}}
	if r.Receipt != nil {
		s.receipt(*r.Receipt)
	}
	if r.Answer != nil {
		if r.Receipt != nil {
			out.Print("\n")
		}
		s.answer(*r.Answer)
		holdings(out, r.Answer.Subscriptions, r.Answer.Purchases, now)
	}
}

func (s sheet) receipt(r check.Receipt) {
	name := report.KindText(r.Kind)
	if r.ID != nil {
		name = fmt.Sprintf("%d, %s", *r.ID, name)
	}
	s.Sentence("Receipt", "%s, %s bytes", name, humanize.Comma(int64(r.ByteSize)))
	s.Sentence("App", "%s", appText(r))
	s.Sentence("Environment", "%s", strings.TrimSpace(cmp.Or(string(r.Environment), "not named")+" "+receiptTypeText(r)))
	s.warnings(r.Warnings)
	s.DateIf("Created", r.CreationDate)
	s.DateIf("App since", r.OriginalPurchaseDate)
	s.DateIf("Valid until", r.ExpirationDate)
	fits := "fits verifyReceipt"
	if !r.FitsVerifyReceipt {
		fits = s.Paint(terminal.Red, "too large for verifyReceipt")
	}
	s.Sentence("Request", "%s bytes, %s", humanize.Comma(r.RequestBytes), fits)
	s.Sentence("Purchases", "%s", recordsText(r))
	for i, p := range r.Products {
		if i == maxPurchases {
			s.Sentence("", "and %d more products: see them all with --json", len(r.Products)-i)
			return
		}
		s.Sentence("", "%s", productText(p))
	}
}

func appText(r check.Receipt) string {
	text := cmp.Or(r.BundleID, "not named")
	if r.ApplicationVersion != "" {
		text += ", version " + r.ApplicationVersion
	}
	if r.OriginalApplicationVersion != "" && r.OriginalApplicationVersion != r.ApplicationVersion {
		text += ", first installed as " + r.OriginalApplicationVersion
	}
	return text
}

func receiptTypeText(r check.Receipt) string {
	if r.EnvironmentAssumed {
		return "(assumed: the receipt names none)"
	}
	if r.ReceiptType == "" || r.ReceiptType == string(r.Environment) {
		return ""
	}
	return "(" + r.ReceiptType + ")"
}

func recordsText(r check.Receipt) string {
	switch {
	case r.Error != "":
		return "not readable: " + r.Error
	case r.InApp == 0:
		return "none"
	}
	return humanize.Comma(int64(r.InApp)) + " as of the receipt, which may have changed since:"
}

func productText(p check.Product) string {
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
		return text + ", until " + phrase.Time(*p.ExpiresDate)
	case p.PurchaseDate != nil:
		return text + ", bought " + phrase.Time(*p.PurchaseDate)
	}
	return text
}

func (s sheet) answer(a check.Answer) {
	switch {
	case a.Code == nil:
		s.Sentence("Apple", "%s", s.Paint(terminal.Red, "failed response: ")+a.Error)
	case a.Accepted:
		s.Sentence("Apple says", "%s %s", s.Paint(terminal.Green, appstore.Code(*a.Code).String()), environmentText(a.Environment))
	default:
		s.Sentence("Apple says", "%s %s", s.Paint(terminal.Red, appstore.Code(*a.Code).String()), environmentText(a.Environment))
	}
	s.Sentence("", "%s", a.Meaning)
	if a.Code != nil && !a.Accepted && (*a.Code == int(appstore.CodeOK) || *a.Code == int(appstore.CodeSubscriptionExpired)) {
		s.Sentence("But", "%s", a.Error)
	}
	s.retryable(a.Retryable)
	s.Sentence("Failure class", "%s", a.FailureClass)
	s.warnings(a.Warnings)
	s.Sentence("App", "%s", a.BundleID)
	switch {
	case a.AsOf != nil:
		s.Date("As of", *a.AsOf)
	case a.Accepted:
		s.Sentence("As of", "the reply does not say: judged by the present time")
	}
	for _, id := range a.Undated {
		s.Sentence("Undated", "subscription %s: the reply does not say when its newest period ends, so it changes nothing", id)
	}
	if a.Accepted && len(a.Subscriptions)+len(a.Purchases)+len(a.Undated) == 0 {
		s.Sentence("Purchases", "none")
	}
}

func (s sheet) warnings(texts []string) {
	for _, text := range texts {
		s.Sentence("Warning", "%s", s.Paint(terminal.Yellow, text))
	}
}

// retryable says what Apple said about asking again.
func (s sheet) retryable(r *bool) {
	switch {
	case r == nil:
	case *r:
		s.Sentence("", "Apple says that asking again may help.")
	default:
		s.Sentence("", "Apple says that a retry will not help.")
	}
}
