package repository

import (
	"context"
	"fmt"
	"time"
)

// countLimit is how many rows a look at the whole is ready to count. It keeps
// the cost of a look the same for any number of receipts, some tens of milliseconds.
const countLimit = 100_000

// ReceiptsByState counts receipts by their iap.ReceiptState.
func (db *DB) ReceiptsByState(ctx context.Context) (Tally, error) {
	const query = `SELECT state AS value, count(*) AS count FROM (SELECT state FROM receipts LIMIT $1) r GROUP BY state`
	return db.tally(ctx, query, "receipts", "state")
}

// SubscriptionsByStatus counts subscriptions by their iap.Status.
func (db *DB) SubscriptionsByStatus(ctx context.Context) (Tally, error) {
	const query = `SELECT status AS value, count(*) AS count FROM (SELECT status FROM subscriptions LIMIT $1) s GROUP BY status`
	return db.tally(ctx, query, "subscriptions", "status")
}

// valueCount is a line of a Tally.
type valueCount struct {
	Value string     `db:"value"`
	Count int64      `db:"count"`
	At    *time.Time `db:"estimated_at"`
}

// tally counts with a query that looks at $1 rows at most, and where there are
// more asks for the estimate.
func (db *DB) tally(ctx context.Context, query, table, column string) (Tally, error) {
	const estimate = `
		SELECT v.value, round(c.reltuples * v.frequency)::bigint AS count,
		       greatest(t.last_analyze, t.last_autoanalyze) AS estimated_at
		FROM pg_class c
		JOIN pg_stat_user_tables t ON t.relid = c.oid
		JOIN pg_stats s ON s.schemaname = t.schemaname AND s.tablename = t.relname AND s.attname = $2
		CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS v(value, frequency)
		WHERE c.oid = $1::text::regclass AND c.reltuples > 0`
	var counted, estimated []valueCount
	if err := db.db.SelectContext(ctx, &counted, query, countLimit+1); err != nil {
		return Tally{}, fmt.Errorf("count %s: %w", table, err)
	}
	if sum(counted) <= countLimit {
		return newTally(counted), nil
	}
	if err := db.db.SelectContext(ctx, &estimated, estimate, table, column); err != nil {
		return Tally{}, fmt.Errorf("estimate %s: %w", table, err)
	}
	if len(estimated) > 0 {
		t := newTally(estimated)
		t.Estimated, t.EstimatedAt = true, estimated[0].At
		return t, nil
	}
	// Rows that ANALYZE has not seen yet, which it does within minutes.
	if err := db.db.SelectContext(ctx, &counted, query, nil); err != nil {
		return Tally{}, fmt.Errorf("count all %s: %w", table, err)
	}
	return newTally(counted), nil
}

func sum(counts []valueCount) (n int64) {
	for _, c := range counts {
		n += c.Count
	}
	return n
}

func newTally(counts []valueCount) Tally {
	t := Tally{Counts: make(map[string]int64, len(counts))}
	for _, c := range counts {
		t.Counts[c.Value] = c.Count
	}
	return t
}

// Tally is how many rows have each value of a column. Up to 100,000 rows are
// counted; for more of them it is what Postgres estimates from the sample that
// ANALYZE draws, which leaves out values that hardly any row has.
type Tally struct {
	Counts    map[string]int64 `json:"counts"`
	Estimated bool             `json:"estimated"`
	// EstimatedAt is when the sample was drawn, nil where Postgres does not
	// remember.
	EstimatedAt *time.Time `json:"estimated_at"`
}
