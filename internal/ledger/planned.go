package ledger

import (
	"time"

	"revalidator/internal/iap"
)

// PlannedGroup is how many receipts of an app and environment have their next
// look by a rule in the run of a slot.
type PlannedGroup struct {
	BundleID string `db:"bundle_id"`
	// Environment is Production where Apple has not taught it yet, which is
	// asked first.
	Environment iap.Environment `db:"environment"`
	Rule        iap.Rule        `db:"next_check_rule"`
	// Slot is the index of the first slot that is not before the look.
	Slot     int   `db:"slot"`
	Receipts int64 `db:"receipts"`
}

// PlannedReceipt is a receipt with its next look, and what it shows.
type PlannedReceipt struct {
	ID          int64
	BundleID    string
	Environment iap.Environment
	State       iap.ReceiptState
	NextCheckAt time.Time
	Rule        iap.Rule
	Shows       iap.Conclusion
}
