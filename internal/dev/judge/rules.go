package judge

import (
	"context"
	"fmt"
	"time"
)

// checks looks for subscriptions that are past their end and live by the row, and
// that nobody will ask about again. A receipt in quarantine waits for a person.
func (j *Judge) checks(ctx context.Context, _ Case, v *Verdict) error {
	const query = `
		SELECT format('%s/%s/%s is %s until %s, and nobody looks again', s.bundle_id, s.environment, s.original_transaction_id, s.status, s.expires_date)
		FROM subscriptions s JOIN receipt_subscriptions l USING (bundle_id, environment, original_transaction_id)
		JOIN receipts r ON r.id = l.receipt_id
		WHERE s.status IN ('active', 'billing_retry', 'billing_grace_period') AND s.expires_date < $1
		GROUP BY s.bundle_id, s.environment, s.original_transaction_id
		HAVING bool_and(r.next_check_at IS NULL) AND bool_or(r.state IN ('new', 'valid'))
		ORDER BY 1`
	forgotten, err := j.lines(ctx, query, j.sim.Clock().Now())
	if err != nil {
		return fmt.Errorf("next checks: %w", err)
	}
	v.Lost += v.complainAll("next check", forgotten)
	return nil
}

// covered looks at receipts that rest: another one has to be asked about in their
// place, that is in order and of no less reach, and shows all that they show.
func (j *Judge) covered(ctx context.Context, _ Case, v *Verdict) error {
	const query = `
		SELECT format('receipt %s is covered by %s: %s', r.id, r.covered_by, why)
		FROM receipts r LEFT JOIN receipts c ON c.id = r.covered_by CROSS JOIN LATERAL (VALUES
			(c.id IS NULL, 'there is none'),
			(r.next_check_at IS NULL OR r.next_check_at > greatest(c.next_check_at, r.last_checked_at) + interval '2 days', 'not due two days after it'),
			(c.state <> 'valid' OR c.last_error IS NOT NULL OR c.next_check_at IS NULL, 'which is not in order'),
			(c.covered_by IS NOT NULL, 'which is covered itself'),
			(c.kind = 'transaction_receipt' AND r.kind = 'app_receipt', 'which is of less reach'),
			(NOT EXISTS (SELECT FROM receipt_subscriptions WHERE receipt_id = r.id)
			 AND NOT EXISTS (SELECT FROM purchases WHERE r.id = ANY(shown_by)), 'which shows nothing'),
			(EXISTS (SELECT FROM receipt_subscriptions s WHERE receipt_id = r.id AND NOT EXISTS (
				SELECT FROM receipt_subscriptions o WHERE o.receipt_id = c.id
				AND (o.bundle_id, o.environment, o.original_transaction_id) = (s.bundle_id, s.environment, s.original_transaction_id))), 'which shows fewer subscriptions'),
			(EXISTS (SELECT FROM purchases WHERE r.id = ANY(shown_by) AND NOT c.id = ANY(shown_by)), 'which shows fewer purchases')
		) AS wrong (holds, why)
		WHERE r.covered_by IS NOT NULL AND holds ORDER BY r.id`
	lines, err := j.lines(ctx, query)
	if err != nil {
		return fmt.Errorf("covered receipts: %w", err)
	}
	v.Lost += v.complainAll("covered", lines)
	return nil
}

// accusations are how many failures, on how many days, take a receipt out of
// service that was accepted before.
const accusations = 3

// quarantine looks for receipts that were accepted once, and taken out of service
// by too little.
func (j *Judge) quarantine(ctx context.Context, c Case, v *Verdict) error {
	const query = `
		SELECT encode(sha256, 'hex'), format('receipt %s is %s', id, state) FROM receipts
		WHERE state NOT IN ('new', 'valid', 'xcode') ORDER BY id`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	defer func() { _ = rows.Close() }()
	known := j.failures()
	var hasty []string
	for rows.Next() {
		var sum, line string
		if err := rows.Scan(&sum, &line); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		f := known[sum]
		if (f.accepted || c.Accepted) && (f.times < accusations || len(f.days) < accusations) {
			hasty = append(hasty, fmt.Sprintf("%s after %d failures on %d days, want %d of each at least", line, f.times, len(f.days), accusations))
		}
	}
	v.Wrong += v.complainAll("quarantine", hasty)
	return rows.Err()
}

// failures are how often, and on which days of the App Store's, a receipt was
// answered with no facts since it was answered with some; and whether it ever was.
type failures struct {
	accepted bool
	times    int
	days     map[string]bool
}

// failures are those of each receipt, by sha-256 in hex.
func (j *Judge) failures() map[string]failures {
	known := map[string]failures{}
	for e := range j.log(0) {
		f := known[e.ReceiptSHA256]
		if f.days == nil {
			f.days = map[string]bool{}
		}
		if isGood(e) {
			f = failures{accepted: true, days: map[string]bool{}}
		} else {
			f.times++
			f.days[e.SimulatedTime.UTC().Format(time.DateOnly)] = true
		}
		known[e.ReceiptSHA256] = f
	}
	return known
}
