package repository

import (
	"context"
	"strings"
)

// PlanOfReceipts is how Postgres would read a page of receipts.
func (db *DB) PlanOfReceipts(ctx context.Context, q ReceiptQuery) (string, error) {
	return db.plan(ctx, storedReceiptsQuery(q), queryArgs(q)...)
}

// PlanOfEvents is how Postgres would read the newest events.
func (db *DB) PlanOfEvents(ctx context.Context, q EventQuery) (string, error) {
	return db.plan(ctx, newestEventsQuery, eventArgs(1<<40, q, q.Limit)...)
}

func (db *DB) plan(ctx context.Context, query string, args ...any) (string, error) {
	var plan []string
	err := db.db.SelectContext(ctx, &plan, `EXPLAIN `+query, args...)
	return strings.Join(plan, "\n"), err
}
