package worker

import (
	"fmt"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// QuarantineRule is one line of the table of all that ends in quarantine. A class
// of failures that has no line never does.
type QuarantineRule struct {
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

func (r Repeats) met(failures, days int) bool {
	return r.Failures > 0 && failures >= r.Failures && days >= r.Days
}

// QuarantineRules is the whole table. Of a receipt that Apple accepted before,
// each line wants three failures on three different days or more.
func QuarantineRules() []QuarantineRule {
	const malformed, notAuthenticated, tooLarge = iap.ReceiptMalformed, iap.ReceiptNotAuthenticated, iap.ReceiptTooLarge
	never := Repeats{}
	return []QuarantineRule{
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

// quarantineRule is the line of a class, whose action is Accuse.
func quarantineRule(class string) QuarantineRule {
	for _, rule := range QuarantineRules() {
		if rule.Class == class {
			return rule
		}
	}
	panic(fmt.Sprintf("class %s accuses receipts and is not in the table of quarantine", class))
}

// accuses reports whether a class of failures has a line in the table. A success,
// which has no class, has none.
func accuses(class string) bool {
	if class == "" {
		return false
	}
	for _, rule := range QuarantineRules() {
		if rule.Class == class {
			return true
		}
	}
	return false
}

// needed is what the line wants for a receipt.
func (q QuarantineRule) needed(r ledger.Receipt) Repeats {
	if r.Accepted() {
		return q.Accepted
	}
	return q.New
}

// rest is when a receipt is checked that is in quarantine.
func (q QuarantineRule) rest(now time.Time) iap.Check {
	if q.Weekly {
		return iap.Check{At: now.Add(week), Rule: iap.RuleConfirm}
	}
	return iap.Check{Rule: iap.RuleSetAside}
}

// day is the day of UTC that a time is in.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// alike is how often in a row, with this failure, a receipt had its class, and on
// how many different days. Other failures in between say nothing about the
// receipt, and what was said before them does not count. The repository stores
// the same.
func alike(r ledger.Receipt, class string, now time.Time) (failures, days int) {
	if r.LastFailure != class {
		return 1, 1
	}
	failures, days = r.FailuresAlike+1, r.AlikeDays
	if day(now).After(day(r.LastCheckedAt)) {
		days++
	}
	return failures, days
}

// countInFigures says whether an outcome counts in the figures of its app: see
// ledger.Figures. What says nothing about the receipt does not, and of the others the
// first of a day does.
func countInFigures(o *ledger.Outcome, r ledger.Receipt) {
	accused := accuses(o.Failure)
	if !o.Asked || !r.Accepted() || r.State.Quarantined() || o.Failure != "" && !accused || mayHaveCounted(r, o.At) {
		return
	}
	o.CountsChecked, o.CountsAccused = true, accused
}

// mayHaveCounted reports whether a result of the receipt may have counted before, on
// the day of a time. Only the last result is stored, and when the receipt was last
// accepted. Where more happened on that day it counts as if it had: one receipt that
// counts many times would stop an app's quarantining by itself.
func mayHaveCounted(r ledger.Receipt, at time.Time) bool {
	on := func(t time.Time) bool { return day(t).Equal(day(at)) }
	switch {
	case on(r.AcceptedAt):
		return true
	case !on(r.LastCheckedAt):
		return false
	}
	// All failures since the receipt was accepted were of one class that says nothing.
	return accuses(r.LastFailure) || r.FailuresAlike < r.ConsecutiveFailures
}
