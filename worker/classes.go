package worker

import (
	"slices"

	"revalidator/internal/claim"
)

// FailureClasses lists what the last result of a receipt may be called where it
// was a failure, in the order of the tables. What ends without an answer to store
// is not among them.
func FailureClasses() []string {
	var classes []string
	for _, table := range [][]Class{(*verifyReceipt)(nil).Classes(), ownClasses()} {
		for _, c := range table {
			switch c.Action {
			case Release, WaitForLimit, PauseApp, Disregard, Hold, Fail:
				continue
			}
			if !slices.Contains(classes, c.Name) {
				classes = append(classes, c.Name)
			}
		}
	}
	return append(classes, claim.ClassShowsLess)
}
