// Package quarantine holds the rules by which receipts are quarantined: after which
// failures, how often repeated, and when so many receipts of an app fail alike that
// the app's quarantining stops.
package quarantine

import (
	"fmt"
	"slices"

	"revalidator/internal/iap"
)

// Rule is one line of the table of all that ends in quarantine. A class
// of failures that has no line never does.
type Rule struct {
	// Class is the class of failures, Said what it stands for.
	Class, Said string
	// State is what the receipt is quarantined as.
	State iap.ReceiptState
	// New is how often it must be said of a receipt that Apple never accepted,
	// Accepted of one that Apple accepted before: its bytes are the same ones, so
	// that the fault is more likely Apple's, a proxy's or ours, as in February
	// 2023, when good receipts got 21002 for days (bizz84/SwiftyStoreKit#687, #688).
	New, Accepted Repeats
	// OnOtherDays checks the receipt again after a day and then after a week, and
	// not after a back-off, because the answer will not change soon.
	OnOtherDays bool
	// Weekly goes on to check the receipt once a week in quarantine.
	Weekly bool
}

// Repeats is how often in a row a class of failures must come, and on how many
// different days of UTC. The zero value is never enough.
type Repeats struct{ Failures, Days int }

// String is how often, in words.
func (r Repeats) String() string {
	switch {
	case r.Failures == 0:
		return "never"
	case r.Failures == 1:
		return "the first time"
	case r.Days == 1:
		return fmt.Sprintf("%d times in a row", r.Failures)
	}
	return fmt.Sprintf("%d times in a row, on %d days", r.Failures, r.Days)
}

// Met reports whether that many failures, on so many days, are enough.
func (r Repeats) Met(failures, days int) bool {
	return r.Failures > 0 && failures >= r.Failures && days >= r.Days
}

// Rules is the whole table. Of a receipt that Apple accepted before,
// each line wants three failures on three different days or more.
func Rules() []Rule {
	const malformed, notAuthenticated, tooLarge = iap.ReceiptMalformed, iap.ReceiptNotAuthenticated, iap.ReceiptTooLarge
	never := Repeats{}
	return []Rule{
		// Two say so who do not know of each other: Apple, and the signature.
		{"forged", "21002 or 21003, and the signature is disproved", iap.ReceiptForged, Repeats{1, 1}, never, false, false},
		{"receipt_malformed", "21002", malformed, Repeats{10, 2}, Repeats{30, 3}, false, true},
		{"receipt_not_authenticated", "21003", notAuthenticated, Repeats{10, 2}, Repeats{30, 3}, false, true},
		{"account_gone", "21010", iap.ReceiptAccountGone, Repeats{3, 3}, Repeats{3, 3}, true, false},
		{"wrong_app", "a reply about another app", iap.ReceiptWrongApp, Repeats{3, 3}, never, true, false},
		{"request_too_large", "HTTP 413, near the limit", tooLarge, Repeats{3, 3}, Repeats{3, 3}, true, false},
		// That is known without asking; but a limit can be set too low by mistake.
		{"too_large_to_send", "not sent: larger than `REVALIDATOR_MAX_REQUEST_BYTES`", tooLarge, Repeats{1, 1}, Repeats{3, 3}, true, false},
		// Soon for a new receipt, so that it does not hold up the others.
		{"panicked", "the program panicked", iap.ReceiptQuarantined, Repeats{3, 1}, Repeats{3, 3}, false, false},
		{"save_refused", "Postgres refuses to store what the reply says", iap.ReceiptQuarantined, Repeats{3, 3}, Repeats{3, 3}, false, false},
	}
}

// Needed is what the line wants for a receipt, by whether Apple ever accepted it.
func (q Rule) Needed(accepted bool) Repeats {
	if accepted {
		return q.Accepted
	}
	return q.New
}

// Reasons are all that a receipt can be quarantined for, each once.
func Reasons() (reasons []string) {
	for _, rule := range Rules() {
		reason := string(rule.State)
		if rule.State == iap.ReceiptQuarantined {
			reason = rule.Class
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}
