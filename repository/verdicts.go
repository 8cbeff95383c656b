package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// judgeReceipts makes of stored outcomes what they say about receipts, and says
// which apps have had their quarantining stopped, or go on. The rows of what the
// receipts show must be stored before.
func (db *DB) judgeReceipts(ctx context.Context, tx *sqlx.Tx, stored []ledger.Outcome) ([]ledger.QuarantineChange, error) {
	changes, err := db.countFigures(ctx, tx, stored)
	if err != nil {
		return nil, err
	}
	if err := believeVerdicts(ctx, tx, stored); err != nil {
		return nil, err
	}
	return changes, keepChecking(ctx, tx, stored)
}

// believeVerdicts quarantines the receipts of stored outcomes that have a verdict,
// unless the quarantining of their app is stopped, and changes the outcomes to
// what became of them: one that is not believed has no verdict any more. It comes
// after the figures were counted, which may stop an app.
func believeVerdicts(ctx context.Context, tx *sqlx.Tx, stored []ledger.Outcome) error {
	const query = `
		UPDATE receipts r SET state = v.state, next_check_at = v.next_check_at, next_check_rule = v.next_check_rule,
			quarantined_at = v.at, run_id = NULL
		FROM json_to_recordset($1) AS v(receipt_id bigint, at timestamptz, state text, next_check_at timestamptz, next_check_rule text)
		WHERE r.id = v.receipt_id AND NOT EXISTS (
			SELECT FROM apps a
			WHERE a.bundle_id = r.bundle_id AND a.quarantine_stopped_at IS NOT NULL AND a.quarantine_resumed_at IS NULL)
		RETURNING r.id`
	var verdicts []outcomeRow
	for _, o := range stored {
		if v := o.Verdict; v != nil {
			verdicts = append(verdicts, outcomeRow{
				ReceiptID: o.ReceiptID, At: o.At, State: v.State, NextCheckAt: v.NextCheck.At, NextCheckRule: v.NextCheck.Rule,
			})
		}
	}
	if len(verdicts) == 0 {
		return nil
	}
	document, err := json.Marshal(verdicts)
	if err != nil {
		return err
	}
	var quarantined []int64
	if err := tx.SelectContext(ctx, &quarantined, query, string(document)); err != nil {
		return fmt.Errorf("quarantine receipts: %w", err)
	}
	believed := make(map[int64]bool, len(quarantined))
	for _, id := range quarantined {
		believed[id] = true
	}
	for i := range stored {
		switch o := &stored[i]; {
		case o.Verdict == nil:
		case believed[o.ReceiptID]:
			o.State, o.NextCheck, o.Stays = o.Verdict.State, o.Verdict.NextCheck, false
		default:
			o.Verdict = nil
		}
	}
	return nil
}

// keptEvery is how often a receipt is checked that could rest in quarantine, but
// shows a live subscription.
const keptEvery = 7 * 24 * time.Hour

// keepChecking gives a next check to those receipts of stored outcomes that are
// quarantined for good and show a live subscription: its row would say so for
// ever, with nobody checking.
func keepChecking(ctx context.Context, tx *sqlx.Tx, stored []ledger.Outcome) error {
	const query = `
		UPDATE receipts r SET next_check_at = $2, next_check_rule = $3
		WHERE r.id = ANY($1) AND r.next_check_at IS NULL AND EXISTS (
			SELECT FROM receipt_subscriptions l JOIN subscriptions s USING (bundle_id, environment, original_transaction_id)
			WHERE l.receipt_id = r.id AND s.status IN ('active', 'billing_grace_period', 'billing_retry'))`
	var resting []int64
	var now time.Time
	for _, o := range stored {
		if o.NextCheck.Rule == iap.RuleSetAside {
			resting, now = append(resting, o.ReceiptID), o.At
		}
	}
	if len(resting) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, query, pq.Array(resting), now.Add(keptEvery), iap.RuleQuarantineCheck); err != nil {
		return fmt.Errorf("keep checking quarantined receipts: %w", err)
	}
	return nil
}
