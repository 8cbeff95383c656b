package ledger

import (
	"time"

	"revalidator/internal/iap"
)

// Filter chooses receipts. Its fields are all to be met; an empty one does not
// choose. Within a field any of the values will do.
type Filter struct {
	BundleIDs    []string           `json:"apps,omitempty"`
	CustomerRefs []string           `json:"customers,omitempty"`
	States       []iap.ReceiptState `json:"states,omitempty"`
	// LastResults are classes of failures, or ResultOK.
	LastResults []string `json:"last_results,omitempty"`
	// CheckedBefore chooses what was last checked before, or never.
	CheckedBefore time.Time `json:"checked_before,omitzero"`
	// Statuses, ExpiresFrom and ExpiresUntil choose receipts that show a
	// subscription which meets all of them.
	Statuses     []iap.Status `json:"statuses,omitempty"`
	ExpiresFrom  time.Time    `json:"expires_from,omitzero"`
	ExpiresUntil time.Time    `json:"expires_until,omitzero"`
	// IDs are ids of receipts.
	IDs []int64 `json:"ids,omitempty"`
}

// ResultOK is the last result of a receipt that Apple has answered well.
const ResultOK = "ok"

// FilterCount is how many of the chosen receipts of an app show a subscription
// of a status; each receipt counts once, under the status that is most alive.
type FilterCount struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	// Status is empty for receipts that show no subscription.
	Status   iap.Status `db:"status" json:"status"`
	Receipts int64      `db:"receipts" json:"receipts"`
	// RatePerSecond is the rate of the app.
	RatePerSecond float64 `db:"rate_per_second" json:"rate_per_second"`
}
