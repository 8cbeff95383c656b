package ledger

import (
	"slices"
	"time"

	"revalidator/internal/iap"
)

// QuarantineQuery chooses quarantined receipts. Every zero field but Limit
// chooses nothing by itself.
type QuarantineQuery struct {
	BundleID string
	// Reason is a state of iap.QuarantineStates, or the class of a failure.
	Reason string
	IDs    []int64
	// Since is from when on they were quarantined.
	Since time.Time
	// After is the last id of the page before, Limit the most for a page.
	After int64
	Limit int
}

// QuarantineReasons are all that a receipt can be quarantined for, each once.
func QuarantineReasons() (reasons []string) {
	for _, rule := range QuarantineRules() {
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

// QuarantinedReceipt is a stored receipt that is set aside, and why.
type QuarantinedReceipt struct {
	StoredReceipt
	Reason string `json:"reason"`
}

// QuarantineCount is how many receipts of an app are quarantined for a reason.
type QuarantineCount struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	Reason   string `db:"reason" json:"reason"`
	Receipts int64  `db:"receipts" json:"receipts"`
}

// ReleasedReceipt is a receipt that was quarantined.
type ReleasedReceipt struct {
	ID       int64  `db:"id" json:"id"`
	BundleID string `db:"bundle_id" json:"bundle_id"`
	Reason   string `db:"reason" json:"reason"`
}
