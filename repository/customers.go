package repository

import (
	"context"
	"fmt"

	"github.com/lib/pq"
)

// UnknownCustomers are those of some customer references that no receipt has.
func (db *DB) UnknownCustomers(ctx context.Context, refs []string) ([]string, error) {
	const query = `
		SELECT ref FROM unnest($1::text[]) WITH ORDINALITY AS given(ref, place)
		WHERE NOT EXISTS (SELECT FROM receipts WHERE customer_ref = ref) ORDER BY place`
	var unknown []string
	if err := db.db.SelectContext(ctx, &unknown, query, pq.Array(refs)); err != nil {
		return nil, fmt.Errorf("look for customers: %w", err)
	}
	return unknown, nil
}

// CustomersNear are the customer references next to one in their order, read from the
// index receipts_once.
func (db *DB) CustomersNear(ctx context.Context, ref string) ([]string, error) {
	const query = `
		(SELECT DISTINCT customer_ref FROM (
			SELECT customer_ref FROM receipts WHERE customer_ref < $1 ORDER BY customer_ref DESC LIMIT 50) before)
		UNION ALL
		(SELECT DISTINCT customer_ref FROM (
			SELECT customer_ref FROM receipts WHERE customer_ref > $1 ORDER BY customer_ref LIMIT 50) after)`
	var near []string
	if err := db.db.SelectContext(ctx, &near, query, ref); err != nil {
		return nil, fmt.Errorf("look for customers: %w", err)
	}
	return near, nil
}

// UnknownReceipts are those of some ids that no receipt has.
func (db *DB) UnknownReceipts(ctx context.Context, ids []int64) ([]int64, error) {
	const query = `
		SELECT given.id FROM unnest($1::bigint[]) given(id)
		WHERE NOT EXISTS (SELECT FROM receipts WHERE receipts.id = given.id) ORDER BY 1`
	var unknown []int64
	if err := db.db.SelectContext(ctx, &unknown, query, pq.Array(ids)); err != nil {
		return nil, fmt.Errorf("look for receipts: %w", err)
	}
	return unknown, nil
}
