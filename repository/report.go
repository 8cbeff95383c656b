package repository

import (
	"context"
	"fmt"

	"revalidator/internal/ledger"
)

// LastFinished is the newest run that has finished or was cut off by its window, of any
// kind, or ErrNotFound.
func (db *DB) LastFinished(ctx context.Context) (ledger.RunTotals, error) {
	const query = `
		SELECT ` + runTotalsColumns + ` FROM run_totals
		WHERE id = (SELECT id FROM runs WHERE state IN ('finished', 'cut_off') ORDER BY id DESC LIMIT 1)`
	var t ledger.RunTotals
	if err := db.db.GetContext(ctx, &t, query); err != nil {
		return ledger.RunTotals{}, fmt.Errorf("look for the last finished run: %w", named(err))
	}
	return t, nil
}

// FinishedBefore is the newest finished run of a kind that was opened before
// another, or ErrNotFound.
func (db *DB) FinishedBefore(ctx context.Context, kind ledger.RunKind, id int64) (ledger.RunTotals, error) {
	const query = `
		SELECT ` + runTotalsColumns + ` FROM run_totals
		WHERE id = (SELECT id FROM runs WHERE kind = $1 AND state IN ('finished', 'cut_off') AND id < $2 ORDER BY id DESC LIMIT 1)`
	var t ledger.RunTotals
	if err := db.db.GetContext(ctx, &t, query, kind, id); err != nil {
		return ledger.RunTotals{}, fmt.Errorf("look for the %s run before %d: %w", kind, id, named(err))
	}
	return t, nil
}

// RunProducts counts the events of a run by app, product and type.
func (db *DB) RunProducts(ctx context.Context, id int64) ([]ledger.ProductEvents, error) {
	const query = `
		SELECT bundle_id, product_id, type, count(*) AS count FROM subscription_events
		WHERE run_id = $1 GROUP BY bundle_id, product_id, type ORDER BY bundle_id, product_id, type`
	var counts []ledger.ProductEvents
	if err := db.db.SelectContext(ctx, &counts, query, id); err != nil {
		return nil, fmt.Errorf("count events of run %d by product: %w", id, err)
	}
	return counts, nil
}
