package runs

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
