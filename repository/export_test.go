package repository

import (
	"context"
	"strings"

	"revalidator/internal/ledger"
)

// PlanOfReceipts is how Postgres would read a page of receipts.
func (db *DB) PlanOfReceipts(ctx context.Context, q ledger.ReceiptQuery) (string, error) {
	var plan []string
	err := db.db.SelectContext(ctx, &plan, `EXPLAIN `+storedReceiptsQuery(q), queryArgs(q)...)
	return strings.Join(plan, "\n"), err
}
