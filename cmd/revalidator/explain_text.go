package main

import (
	"fmt"
	"io"
	"time"

	"revalidator/internal/appstore"
	"revalidator/repository"
)

// text prints an explanation for people: the receipts first, because they are
// what is asked about, then what they show, then how it came to that.
func (e explanation) text(out printer, now time.Time) func(io.Writer) error {
	return func(w io.Writer) error {
		out.out = w
		for i, r := range e.Receipts {
			if i > 0 {
				fmt.Fprintln(w)
			}
			receiptText(out, r, now)
		}
		if more := e.Subject.Receipts - len(e.Receipts); more > 0 {
			fmt.Fprintf(w, "\n%d more receipts: see 'revalidator receipts list'\n", more)
		}
		holdings(out, e.Subscriptions, e.Purchases, now)
		eventsText(w, e.Events)
		return nil
	}
}

// receiptText tells of one stored receipt.
func receiptText(out printer, r receiptExplanation, now time.Time) {
	s := sheet{printer: out, now: now, indent: 2, label: 15}
	fmt.Fprintf(out.out, "Receipt %d of %s\n", r.ID, r.BundleID)
	s.row("Customer", fmt.Sprintf("%q", r.CustomerRef))
	s.sentence("State", "%s, %s %s", words(string(r.State)), kindText(r.Kind), environmentText(r.Environment))
	s.date("Imported", r.CreatedAt)
	s.lastLook(r)
	s.nextLook(r)
	for i, obstacle := range r.Obstacles {
		label := ""
		if i == 0 {
			label = "In the way"
		}
		s.sentence(label, "%s", obstacle)
	}
}

// lastLook says what was answered last.
func (s sheet) lastLook(r receiptExplanation) {
	if r.LastCheckedAt == nil {
		s.row("Last look", "never: Apple has not answered yet")
		return
	}
	s.date("Last look", *r.LastCheckedAt)
	switch {
	case r.LastCode != nil:
		s.sentence("Apple said", "%s", appstore.Code(*r.LastCode))
		s.sentence("", "%s", r.LastCodeMeaning)
	default:
		s.row("Apple said", "nothing that could be read")
	}
	if r.LastError == nil {
		return
	}
	times := ""
	if r.ConsecutiveFailures > 1 {
		times = fmt.Sprintf(", %d times in a row", r.ConsecutiveFailures)
	}
	s.sentence("Failure", "%s%s", s.paint(yellow, words(*r.LastError)), times)
	s.sentence("", "%s", r.LastErrorMeaning)
	if text := heldAgainst(r.StoredReceipt); text != "" {
		s.sentence("", "%s", text)
	}
}

// nextLook says when Apple is asked again, and why then.
func (s sheet) nextLook(r receiptExplanation) {
	switch {
	case r.NextCheckAt == nil:
		s.row("Next look", "never")
	case r.NextCheckAt.After(s.now):
		s.date("Next look", *r.NextCheckAt)
	default:
		s.row("Next look", "due since", whenAgo(*r.NextCheckAt, s.now)+":")
		s.row("", "the next run asks")
	}
	s.sentence("Because", "%s (%s)", r.NextCheckMeaning, r.NextCheckRule)
}

func eventsText(w io.Writer, events []repository.Event) {
	if len(events) == 0 {
		return
	}
	fmt.Fprintf(w, "\nWhat led here, the latest first\n")
	for _, e := range events {
		by := ""
		if e.RunID != nil {
			by = fmt.Sprintf("run %d", *e.RunID)
		}
		fmt.Fprint(w, indented([]string{when(e.AsOf), words(string(e.Type)), e.ProductID, by}, 2, 80))
	}
}
