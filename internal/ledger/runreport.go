package ledger

import (
	"time"

	"revalidator/internal/iap"
)

// RunApp is an app's part of a run, with what bounds it.
type RunApp struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	RunFigures
	// PausedCode and PausedText are why the app is paused now, nil while it is not.
	PausedCode *string `db:"paused_code" json:"paused_code"`
	PausedText *string `db:"paused_text" json:"paused_text"`
}

// FailureCount is how often a class of failure was met in a run.
type FailureCount struct {
	Class   string `db:"class" json:"class"`
	Answers int64  `db:"answers" json:"answers"`
}

// EventCount is how many events of a type there were.
type EventCount struct {
	Type  iap.EventType `db:"type" json:"type"`
	Count int64         `db:"count" json:"count"`
}

// ProductEvents is how many events of a type a product had.
type ProductEvents struct {
	BundleID  string        `db:"bundle_id"`
	ProductID string        `db:"product_id"`
	Type      iap.EventType `db:"type"`
	Count     int64         `db:"count"`
}

// Waiting are the receipts of a run that wait until they are checked again in it.
type Waiting struct {
	Receipts int64 `db:"receipts" json:"receipts"`
	// More says that there are more than Receipts.
	More bool `json:"more"`
	// NextAt is when the first of them is due.
	NextAt *time.Time `db:"next_at" json:"next_at"`
}
