package worker

import (
	"fmt"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
)

// quarantineRule is the line of a class, whose action is Accuse.
func quarantineRule(class string) quarantine.Rule {
	for _, rule := range quarantine.Rules() {
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
	for _, rule := range quarantine.Rules() {
		if rule.Class == class {
			return true
		}
	}
	return false
}

// rest is when a receipt is checked that is in quarantine.
func rest(q quarantine.Rule, now time.Time) iap.Check {
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
func alike(r claim.Receipt, class string, now time.Time) (failures, days int) {
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
// Figures. What says nothing about the receipt does not, and of the others the
// first of a day does.
func countInFigures(o *claim.Outcome, r claim.Receipt) {
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
func mayHaveCounted(r claim.Receipt, at time.Time) bool {
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
