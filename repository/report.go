package repository

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// LastFinished is the newest run that has finished or was cut off by its window, of any
// kind, or ErrNotFound.
func (db *DB) LastFinished(ctx context.Context) (runs.Totals, error) {
	const query = `
		SELECT ` + runTotalsColumns + ` FROM run_totals
		WHERE id = (SELECT id FROM runs WHERE state IN ('finished', 'cut_off') ORDER BY id DESC LIMIT 1)`
	var t runs.Totals
	if err := db.db.GetContext(ctx, &t, query); err != nil {
		return runs.Totals{}, fmt.Errorf("find the last finished run: %w", named(err))
	}
	return t, nil
}

// FinishedBefore is the newest finished run of a kind that was opened before
// another, or ErrNotFound.
func (db *DB) FinishedBefore(ctx context.Context, kind runs.Kind, id int64) (runs.Totals, error) {
	const query = `
		SELECT ` + runTotalsColumns + ` FROM run_totals
		WHERE id = (SELECT id FROM runs WHERE kind = $1 AND state IN ('finished', 'cut_off') AND id < $2 ORDER BY id DESC LIMIT 1)`
	var t runs.Totals
	if err := db.db.GetContext(ctx, &t, query, kind, id); err != nil {
		return runs.Totals{}, fmt.Errorf("find the %s run before %d: %w", kind, id, named(err))
	}
	return t, nil
}

// RunProducts counts the events of a run by app, product and type.
func (db *DB) RunProducts(ctx context.Context, id int64) ([]ProductEvents, error) {
	const query = `
		SELECT bundle_id, product_id, type, count(*) AS count FROM subscription_events
		WHERE run_id = $1 GROUP BY bundle_id, product_id, type ORDER BY bundle_id, product_id, type`
	var counts []ProductEvents
	if err := db.db.SelectContext(ctx, &counts, query, id); err != nil {
		return nil, fmt.Errorf("count events of run %d by product: %w", id, err)
	}
	return counts, nil
}

// RunApp is an app's part of a run, with what bounds it.
type RunApp struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	runs.Figures
	// PausedCode and PausedText are why the app is paused now, nil while it is not.
	PausedCode *string `db:"paused_code" json:"paused_code"`
	PausedText *string `db:"paused_text" json:"paused_text"`
}

// FailureCount is how often a class of failure was met in a run.
type FailureCount struct {
	Class     string `db:"class" json:"class"`
	Responses int64  `db:"responses" json:"responses"`
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
