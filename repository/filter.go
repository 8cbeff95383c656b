package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// chosen are the receipts r that a filter chooses, by the parameters $1 to $9
// of filterArgs. What can never be checked is left out.
const chosen = `
	r.state NOT IN ('xcode', 'too_large_for_verify_receipt')
	AND ($1::text[] IS NULL OR r.bundle_id = ANY($1))
	AND ($2::text[] IS NULL OR r.customer_ref = ANY($2))
	AND ($3::text[] IS NULL OR r.state = ANY($3))
	AND ($4::text[] IS NULL OR coalesce(r.last_error, CASE WHEN r.last_checked_at IS NOT NULL THEN 'ok' END) = ANY($4))
	AND ($5::timestamptz IS NULL OR r.last_checked_at IS NULL OR r.last_checked_at < $5)
	AND (($6::text[] IS NULL AND $7::timestamptz IS NULL AND $8::timestamptz IS NULL) OR EXISTS (
		SELECT 1 FROM receipt_subscriptions JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
		WHERE receipt_id = r.id AND ` + chosenSubscriptions + `))
	AND ($9::bigint[] IS NULL OR r.id = ANY($9))`

func filterArgs(f runs.Filter) []any {
	return []any{
		textArray(f.BundleIDs), textArray(f.CustomerRefs), textArray(f.States), textArray(f.LastResults),
		timeOrNull(f.CheckedBefore), textArray(f.Statuses), timeOrNull(f.ExpiresFrom), timeOrNull(f.ExpiresUntil),
		pq.Array(f.IDs),
	}
}

// textArray is NULL where there are no values.
func textArray[T ~string](values []T) any {
	if len(values) == 0 {
		return nil
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return pq.Array(texts)
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// chosenSubscriptions are the subscriptions s that a filter chooses.
const chosenSubscriptions = `($6::text[] IS NULL OR s.status = ANY($6))
	AND ($7::timestamptz IS NULL OR s.expires_date >= $7) AND ($8::timestamptz IS NULL OR s.expires_date < $8)`

// CountChosen counts the receipts that a filter chooses, by app and by the
// status that is most alive, of those that it chooses by.
func (db *DB) CountChosen(ctx context.Context, f runs.Filter) ([]FilterCount, error) {
	const query = `
		SELECT bundle_id, rate_per_second, coalesce(status, '') AS status, count(*) AS receipts
		FROM (
			SELECT r.bundle_id, (
				SELECT s.status FROM receipt_subscriptions JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
				WHERE receipt_id = r.id AND ` + chosenSubscriptions + `
				ORDER BY array_position(ARRAY['active', 'billing_grace_period', 'billing_retry', 'expired', 'revoked'], s.status)
				LIMIT 1) AS status
			FROM receipts r WHERE ` + chosen + `
		) c JOIN apps USING (bundle_id)
		GROUP BY bundle_id, rate_per_second, status
		ORDER BY bundle_id, array_position(ARRAY['active', 'billing_grace_period', 'billing_retry', 'expired', 'revoked'], status)`
	var counts []FilterCount
	if err := db.db.SelectContext(ctx, &counts, query, filterArgs(f)...); err != nil {
		return nil, fmt.Errorf("count chosen receipts: %w", err)
	}
	return counts, nil
}

// FilterCount is how many of the chosen receipts of an app show a subscription
// of a status; each receipt counts once, under the status that is most alive.
type FilterCount struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	// Status is empty for receipts that show no subscription.
	Status   iap.Status `db:"status" json:"status"`
	Receipts int64      `db:"receipts" json:"receipts"`
	// RatePerSecond is the rate of the app.
	RatePerSecond float64 `db:"rate_per_second" json:"rate_per_second"`
}
