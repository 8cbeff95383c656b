package main

import (
	"fmt"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// explanationText prints an explanation for people: the receipts first, because they are
// what is asked about, then what they show, then how it came to that.
func explanationText(out *terminal.Page, e report.Explanation, now time.Time) {
	for i, r := range e.Receipts {
		if i > 0 {
			out.Print("\n")
		}
		receiptText(out, r, now)
	}
	if more := e.Subject.Receipts - len(e.Receipts); more > 0 {
		out.Printf("\n%d more receipts: see 'revalidator receipts list'\n", more)
	}
	holdings(out, e.Subscriptions, e.Purchases, now)
	eventsText(out, e.Events)
}

// receiptText tells of one stored receipt.
func receiptText(out *terminal.Page, r report.ReceiptExplanation, now time.Time) {
	s := sheet{terminal.Sheet{Page: out, Now: now, Indent: 2, Label: 15}}
	out.Printf("Receipt %d of %s\n", r.ID, r.BundleID)
	s.Row("Customer", fmt.Sprintf("%q", r.CustomerRef))
	s.Sentence("State", "%s, %s %s", phrase.Words(string(r.State)), report.KindText(r.Kind), environmentText(r.Environment))
	s.Date("Imported", r.CreatedAt)
	s.lastLook(r)
	s.nextLook(r)
	for i, obstacle := range r.Obstacles {
		label := ""
		if i == 0 {
			label = "In the way"
		}
		s.Sentence(label, "%s", obstacle)
	}
}

// lastLook says what was answered last.
func (s sheet) lastLook(r report.ReceiptExplanation) {
	if r.LastCheckedAt == nil {
		s.Row("Last check", "never: Apple has not answered yet")
		return
	}
	s.Date("Last check", *r.LastCheckedAt)
	switch {
	case r.LastCode != nil:
		s.Sentence("Apple said", "%s", appstore.Code(*r.LastCode))
		s.Sentence("", "%s", r.LastCodeMeaning)
	default:
		s.Row("Apple said", "nothing that could be read")
	}
	if r.LastError == nil {
		return
	}
	times := ""
	if r.ConsecutiveFailures > 1 {
		times = fmt.Sprintf(", %d times in a row", r.ConsecutiveFailures)
	}
	s.Sentence("Failure", "%s%s", s.Paint(terminal.Yellow, phrase.Words(*r.LastError)), times)
	s.Sentence("", "%s", r.LastErrorMeaning)
	if text := report.HeldAgainst(r.StoredReceipt); text != "" {
		s.Sentence("", "%s", text)
	}
}

// nextLook says when Apple is asked again, and why then.
func (s sheet) nextLook(r report.ReceiptExplanation) {
	switch {
	case r.NextCheckAt == nil:
		s.Row("Next check", "never")
	case r.NextCheckAt.After(s.Now):
		s.Date("Next check", *r.NextCheckAt)
	default:
		s.Row("Next check", "due since", phrase.TimeAgo(*r.NextCheckAt, s.Now)+":")
		s.Row("", "the next run asks")
	}
	s.Sentence("Because", "%s (%s)", r.NextCheckMeaning, r.NextCheckRule)
}

func eventsText(out *terminal.Page, events []repository.Event) {
	if len(events) == 0 {
		return
	}
	out.Printf("\nWhat led here, the latest first\n")
	for _, e := range events {
		by := ""
		if e.RunID != nil {
			by = fmt.Sprintf("run %d", *e.RunID)
		}
		out.Print(terminal.Wrap(2, phrase.Time(e.AsOf), phrase.Words(string(e.Type)), e.ProductID, by))
	}
}
