package ledger

import (
	"encoding/json"
	"time"

	"revalidator/internal/iap"
)

// Event is one change of a subscription or purchase as it was recorded.
type Event struct {
	ID                    int64           `db:"id" json:"id"`
	Type                  iap.EventType   `db:"type" json:"type"`
	BundleID              string          `db:"bundle_id" json:"bundle_id"`
	Environment           iap.Environment `db:"environment" json:"environment"`
	OriginalTransactionID string          `db:"original_transaction_id" json:"original_transaction_id"`
	TransactionID         string          `db:"transaction_id" json:"transaction_id"`
	ProductID             string          `db:"product_id" json:"product_id"`
	// AsOf is Apple's time of the change, RecordedAt ours of the write.
	AsOf       time.Time `db:"as_of" json:"as_of"`
	RecordedAt time.Time `db:"recorded_at" json:"recorded_at"`
	RunID      *int64    `db:"run_id" json:"run_id"`
	ReceiptID  *int64    `db:"receipt_id" json:"receipt_id"`
}

// EventDetails is an event with all that was recorded of it.
type EventDetails struct {
	Event
	// HappenedAt is when the change took place, nil where Apple does not date it.
	HappenedAt *time.Time `db:"happened_at" json:"happened_at"`
	// Generation is with ReceiptID the evidence: which reply showed the change.
	Generation *int64 `db:"generation" json:"generation"`
	// Evidence is nil where a reply shows the change, and no_longer_shown where
	// it follows from replies that do not show the subscription any more.
	Evidence *string `db:"evidence" json:"evidence"`
	// Before and After are the row of subscriptions or purchases; Before is
	// null at the first sight.
	Before json.RawMessage `db:"before" json:"before"`
	After  json.RawMessage `db:"after" json:"after"`
	// CustomerRef is of the receipt that showed the change, nil where that is gone.
	CustomerRef *string `db:"customer_ref" json:"customer_ref"`
}

// EventQuery chooses events. Every zero field but Limit chooses nothing by itself.
type EventQuery struct {
	// After is the last id that was seen.
	After    int64
	BundleID string
	Types    []iap.EventType
	// CustomerRef chooses the events of what a customer's receipts show; it is a
	// pointer because an empty reference is one as well.
	CustomerRef *string
	RunID       int64
	ProductID   string
	// Since leaves out what was recorded before.
	Since time.Time
	Limit int
}
