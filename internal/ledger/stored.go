package ledger

import (
	"time"

	"revalidator/internal/iap"
)

// StoredReceipt is what the database holds of one receipt, without its bytes,
// and whether its app is at work.
type StoredReceipt struct {
	ID          int64           `db:"id" json:"id"`
	BundleID    string          `db:"bundle_id" json:"bundle_id"`
	CustomerRef string          `db:"customer_ref" json:"customer_ref"`
	Kind        iap.ReceiptKind `db:"kind" json:"kind"`
	// Environment is empty until Apple taught it or the receipt claimed it.
	Environment iap.Environment `db:"environment" json:"environment"`
	// SHA256 is the hash of the bytes in hex, ByteSize their number.
	SHA256    string           `db:"sha256" json:"sha256"`
	ByteSize  int64            `db:"byte_size" json:"byte_size"`
	State     iap.ReceiptState `db:"state" json:"state"`
	CreatedAt time.Time        `db:"created_at" json:"created_at"`
	// NextCheckAt is nil where the receipt is never looked at again.
	NextCheckAt   *time.Time `db:"next_check_at" json:"next_check_at"`
	NextCheckRule iap.Rule   `db:"next_check_rule" json:"next_check_rule"`
	// LastCheckedAt, LastCode and LastError are of the last answer: LastCode is
	// nil where there was none to read, LastError after a success.
	LastCheckedAt       *time.Time `db:"last_checked_at" json:"last_checked_at"`
	LastCode            *int       `db:"last_code" json:"last_code"`
	LastError           *string    `db:"last_error" json:"last_error"`
	ConsecutiveFailures int        `db:"consecutive_failures" json:"consecutive_failures"`
	// FailuresAlike is how many of these were of the class LastError, and
	// AlikeDays on how many days of UTC.
	FailuresAlike int `db:"failures_alike" json:"failures_alike"`
	AlikeDays     int `db:"alike_days" json:"alike_days"`
	// AcceptedAt is when Apple last accepted the receipt, nil where it never did;
	// QuarantinedAt since when it is in quarantine, nil where it is not.
	AcceptedAt    *time.Time `db:"accepted_at" json:"accepted_at"`
	QuarantinedAt *time.Time `db:"quarantined_at" json:"quarantined_at"`
	// CoveredBy is the receipt that shows all that this one shows and is checked
	// instead, nil where none is.
	CoveredBy *int64 `db:"covered_by" json:"covered_by"`
	// ClaimedUntil is set while a worker has the receipt in hand. RunID is the
	// run that it has it for, or that waits to ask again.
	ClaimedUntil *time.Time `db:"claimed_until" json:"claimed_until"`
	RunID        *int64     `db:"run_id" json:"run_id"`
	// FailedRunID is the run in which the last check failed, nil after a success.
	FailedRunID *int64 `db:"failed_run_id" json:"failed_run_id"`
	// AppPausedAt, AppPausedCode and AppPausedText are nil while the app is not paused.
	AppPausedAt   *time.Time `db:"paused_at" json:"app_paused_at"`
	AppPausedCode *string    `db:"paused_code" json:"app_paused_code"`
	AppPausedText *string    `db:"paused_text" json:"app_paused_text"`
	// AppQuarantineStoppedAt is nil while receipts of the app may be quarantined.
	AppQuarantineStoppedAt *time.Time `db:"quarantine_stopped_at" json:"app_quarantine_stopped_at"`
}

// ReceiptQuery chooses a page of receipts in the order of their ids. Every zero
// field but Limit chooses nothing by itself.
type ReceiptQuery struct {
	BundleID string
	// CustomerRef is a pointer because an empty reference is one as well.
	CustomerRef *string
	State       iap.ReceiptState
	// Failed chooses receipts whose last check failed, LastClass those of one class
	// of failures.
	Failed    bool
	LastClass string
	// RunID chooses receipts that are in a run, or whose last check failed in it.
	RunID int64
	// DueAt chooses what is due at a time and not claimed.
	DueAt time.Time
	// Quarantined chooses what is in quarantine.
	Quarantined bool
	// IDs are the ids to choose from.
	IDs []int64
	// After is the last id of the page before.
	After int64
	Limit int
}

// MatchKind is what an id may be the id of.
type MatchKind string

// The kinds of things that an operator asks about.
const (
	MatchReceipt     MatchKind = "receipt"
	MatchCustomer    MatchKind = "customer"
	MatchTransaction MatchKind = "transaction"
	MatchWebOrder    MatchKind = "web_order"
)

// Match is one thing that goes by an id: a receipt, the receipts of a customer
// of one app, or a subscription or purchase.
type Match struct {
	Kind        MatchKind       `db:"kind" json:"kind"`
	BundleID    string          `db:"bundle_id" json:"bundle_id"`
	Environment iap.Environment `db:"environment" json:"environment,omitempty"`
	// TransactionID is the key of a subscription, its original transaction id, or of a
	// purchase; empty for what is neither. The id that was given may be another of its ids.
	TransactionID string `db:"transaction_id" json:"transaction_id,omitempty"`
	// Receipts is how many receipts there are of it.
	Receipts int `db:"receipts" json:"receipts"`
}
