package worker

import (
	"slices"

	"revalidator/internal/ledger"
)

// FailureClasses lists what the last result of a receipt may be called where it
// was a failure, in the order of the table. What ends without an answer to store
// is not among them.
func FailureClasses() []string {
	var classes []string
	for _, v := range verdicts() {
		switch v.action {
		case giveBack, waitForLimit, pauseApp, disregard, hold, fail:
			continue
		}
		if !slices.Contains(classes, v.class) {
			classes = append(classes, v.class)
		}
	}
	return append(classes, ledger.ClassShowsLess)
}
