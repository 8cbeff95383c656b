package repository

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
)

// judgement is what a save does about verdicts, and about the figures that may stop
// them.
type judgement struct {
	db      *DB
	stored  []claim.Outcome
	counted bool
	changes []quarantine.Change
}

// judge gives to outcomes, whose claims the transaction has locked, what is believed
// of their receipts: one that is not believed has no verdict any more. The rows that
// the receipts show must be merged before.
//
// Where there is a verdict, the figures are counted first, because these outcomes
// may be the ones that stop the app.
func (db *DB) judge(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) (*judgement, error) {
	j := &judgement{db: db, stored: stored}
	if slices.ContainsFunc(stored, func(o claim.Outcome) bool { return o.Verdict != nil }) {
		if _, err := j.count(ctx, tx); err != nil {
			return nil, err
		}
		if err := believeVerdicts(ctx, tx, stored); err != nil {
			return nil, err
		}
	}
	return j, keepChecking(ctx, tx, stored)
}

// count counts the outcomes in the figures of their apps, once, and returns which
// apps have had their quarantining stopped or resumed by that.
func (j *judgement) count(ctx context.Context, tx *sqlx.Tx) ([]quarantine.Change, error) {
	if j.counted {
		return j.changes, nil
	}
	var err error
	j.counted = true
	j.changes, err = j.db.countFigures(ctx, tx, j.stored)
	return j.changes, err
}

// believeVerdicts carries out the verdicts of outcomes but for those on receipts of
// apps whose quarantining is stopped, which it takes away.
func believeVerdicts(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) error {
	const query = `
		SELECT bundle_id FROM apps
		WHERE bundle_id = ANY($1) AND quarantine_stopped_at IS NOT NULL AND quarantine_resumed_at IS NULL`
	var apps, stopped []string
	for _, o := range stored {
		if o.Verdict != nil && !slices.Contains(apps, o.BundleID) {
			apps = append(apps, o.BundleID)
		}
	}
	if err := tx.SelectContext(ctx, &stopped, query, pq.Array(apps)); err != nil {
		return fmt.Errorf("find apps whose quarantining is stopped: %w", err)
	}
	for i := range stored {
		switch o := &stored[i]; {
		case o.Verdict == nil:
		case slices.Contains(stopped, o.BundleID):
			o.Verdict = nil
		default:
			o.State, o.NextCheck, o.Stays = o.Verdict.State, o.Verdict.NextCheck, false
		}
	}
	return nil
}

// keptEvery is how often a receipt is checked that could rest in quarantine, but
// shows a live subscription.
const keptEvery = 7 * 24 * time.Hour

// keepChecking gives a next check to outcomes whose receipts are quarantined for
// good and show a live subscription: its row would say so for ever, with nobody
// checking.
func keepChecking(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) error {
	const query = `
		SELECT DISTINCT l.receipt_id
		FROM receipt_subscriptions l JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
		WHERE l.receipt_id = ANY($1) AND s.status IN ('active', 'billing_grace_period', 'billing_retry')`
	var resting, live []int64
	for _, o := range stored {
		if o.NextCheck.Rule == iap.RuleSetAside {
			resting = append(resting, o.ReceiptID)
		}
	}
	if len(resting) == 0 {
		return nil
	}
	if err := tx.SelectContext(ctx, &live, query, pq.Array(resting)); err != nil {
		return fmt.Errorf("find live subscriptions of quarantined receipts: %w", err)
	}
	for i, o := range stored {
		if o.NextCheck.Rule == iap.RuleSetAside && slices.Contains(live, o.ReceiptID) {
			stored[i].NextCheck = iap.Check{At: o.At.Add(keptEvery), Rule: iap.RuleQuarantineCheck}
		}
	}
	return nil
}

// uncheckedReceipts are receipts without a next check that show a live subscription.
type uncheckedReceipts []struct {
	ID       int64            `db:"id"`
	BundleID string           `db:"bundle_id"`
	State    iap.ReceiptState `db:"state"`
}

// leftUnchecked locks the receipts without a next check that are left to show a live
// subscription when others are forgotten.
func leftUnchecked(ctx context.Context, tx *sqlx.Tx, forgotten []int64) (left uncheckedReceipts, err error) {
	const query = `
		SELECT r.id, r.bundle_id, r.state FROM receipts r
		WHERE r.next_check_at IS NULL AND r.claimed_until IS NULL AND r.id <> ALL($1) AND r.id IN (
			SELECT o.receipt_id FROM receipt_subscriptions l
			JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
			JOIN receipt_subscriptions o USING (bundle_id, environment, original_transaction_id)
			WHERE l.receipt_id = ANY($1) AND s.status IN ('active', 'billing_grace_period', 'billing_retry'))
		ORDER BY r.id FOR NO KEY UPDATE OF r`
	if err := tx.SelectContext(ctx, &left, query, pq.Array(forgotten)); err != nil {
		return nil, fmt.Errorf("find receipts that are left unchecked: %w", err)
	}
	return left, nil
}

// plan gives the receipts a next check: that of quarantine, or what they show wants.
func (left uncheckedReceipts) plan(ctx context.Context, tx *sqlx.Tx, policies func(bundleID string) iap.Policy, now time.Time) error {
	const query = `UPDATE receipts SET next_check_at = $2, next_check_rule = $3 WHERE id = $1`
	for _, r := range left {
		if !r.State.Quarantined() {
			if err := planAlone(ctx, tx, []int64{r.ID}, policies(r.BundleID), now); err != nil {
				return err
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, query, r.ID, now.Add(keptEvery), iap.RuleQuarantineCheck); err != nil {
			return fmt.Errorf("keep checking quarantined receipts: %w", err)
		}
	}
	return nil
}
