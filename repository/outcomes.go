package repository

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
)

// outcomeRow is an outcome as the statement reads it.
type outcomeRow struct {
	ReceiptID     int64            `json:"receipt_id"`
	Asked         bool             `json:"asked"`
	Failed        bool             `json:"failed"`
	At            time.Time        `json:"at"`
	Stays         bool             `json:"stays"`
	Environment   iap.Environment  `json:"environment,omitempty"`
	State         iap.ReceiptState `json:"state,omitempty"`
	Code          *int             `json:"code"`
	Failure       string           `json:"failure,omitempty"`
	NextCheckAt   time.Time        `json:"next_check_at,omitzero"`
	NextCheckRule iap.Rule         `json:"next_check_rule,omitempty"`
	// Accepted is whether Apple accepted the receipt, Quarantined whether a verdict
	// is believed, and News that of the outcome.
	Accepted    bool  `json:"accepted"`
	Quarantined bool  `json:"quarantined"`
	News        bool  `json:"news"`
	Shows       int   `json:"shows"`
	Rests       bool  `json:"rests"`
	CoveredBy   int64 `json:"covered_by,omitempty"`
}

// byKeyOnly is for a transaction that finds all rows by their keys. Where a table
// was vacuumed while it was empty, Postgres would plan the checks of the foreign
// keys that point to it as walks through the whole table, and keep these plans
// until the next ANALYZE, however many rows come: a first night would save ever
// more slowly. And it would join a batch with a table by walking through the whole
// index of that, where it takes the rows of the batch for many.
const byKeyOnly = `SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_seqscan', 'enable_mergejoin', 'enable_hashjoin']) name`

// SaveOutcomes stores the outcomes of claims, in one transaction: what Apple's facts
// change about subscriptions and purchases, an event for each change, the receipts
// with their next checks, and the totals of the runs. Of an outcome whose claim was
// lost nothing is stored or counted, and a second call with the same outcome changes
// nothing. Its error is database.ErrUnavailable where a later try may do better, and
// database.ErrRefused where none ever will. It is database.ErrTooMuch where the outcomes
// are too many for what their receipts show, and database.ErrBlocked where one of them
// may hold up the others.
func (db *DB) SaveOutcomes(ctx context.Context, outcomes []claim.Outcome) (saved []claim.Saved, err error) {
	var changes []quarantine.Change
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, byKeyOnly); err != nil {
			return err
		}
		held, err := lockClaims(ctx, tx, outcomes)
		if err != nil {
			return err
		}
		saved = make([]claim.Saved, len(outcomes))
		var stored []claim.Outcome
		var places []int
		for i, o := range outcomes {
			generation, claimed := held[o.ReceiptID]
			if saved[i].Held = (claim.State{Generation: generation, Claimed: claimed}).Holds(o.Generation); saved[i].Held {
				delete(held, o.ReceiptID) // the same outcome twice counts once
				stored, places = append(stored, o), append(places, i)
			}
		}
		events, err := mergeConclusions(ctx, tx, stored)
		if err != nil {
			return err
		}
		judged, err := db.judge(ctx, tx, stored)
		if err != nil {
			return err
		}
		if err := leaveEnded(ctx, tx, stored); err != nil {
			return err
		}
		if err := rest(ctx, tx, stored); err != nil {
			return err
		}
		if err := uncover(ctx, tx, stored); err != nil {
			return err
		}
		if err := endClaims(ctx, tx, stored); err != nil {
			return err
		}
		for i, o := range stored {
			saved[places[i]].NextCheck, saved[places[i]].Failure = o.NextCheck, o.Failure
			saved[places[i]].Quarantined = o.Verdict != nil
		}
		// Before the events in every save, as a verdict needs the figures early:
		// whoever has them locked may wait for the lock of events.
		if changes, err = judged.count(ctx, tx); err != nil {
			return err
		}
		changed, err := saveEvents(ctx, tx, events, latestOf(stored))
		if err != nil {
			return err
		}
		// Last: the totals of a run are the rows that everybody writes to, and
		// are locked for the shortest time here.
		return countOutcomes(ctx, tx, stored, changed)
	})
	if err != nil {
		return nil, fmt.Errorf("save %d outcomes: %w", len(outcomes), err)
	}
	for _, change := range changes {
		db.quarantineChanged(change)
	}
	return saved, nil
}

// latestOf is our time of the last of the outcomes.
func latestOf(outcomes []claim.Outcome) (at time.Time) {
	for _, o := range outcomes {
		if o.At.After(at) {
			at = o.At
		}
	}
	return at
}

// lockClaims locks the receipts whose claims are still held, in the order of their
// ids, and returns their generations by id. Until the commit nobody else stores
// anything of them.
func lockClaims(ctx context.Context, tx *sqlx.Tx, outcomes []claim.Outcome) (map[int64]int64, error) {
	const query = `
		SELECT r.id, r.generation
		FROM unnest($1::bigint[], $2::bigint[]) AS o(id, generation)
		JOIN receipts r ON r.id = o.id AND r.generation = o.generation
		WHERE ` + claimHeld + `
		ORDER BY r.id FOR NO KEY UPDATE OF r`
	ids, generations := make([]int64, len(outcomes)), make([]int64, len(outcomes))
	for i, o := range outcomes {
		ids[i], generations[i] = o.ReceiptID, o.Generation
	}
	var locked []struct {
		ID         int64 `db:"id"`
		Generation int64 `db:"generation"`
	}
	if err := tx.SelectContext(ctx, &locked, query, pq.Array(ids), pq.Array(generations)); err != nil {
		return nil, fmt.Errorf("lock claims: %w", err)
	}
	held := make(map[int64]int64, len(locked))
	for _, r := range locked {
		held[r.ID] = r.Generation
	}
	return held, nil
}

// dayOf is the day of UTC of a time.
func dayOf(column string) string { return `date_trunc('day', ` + column + ` AT TIME ZONE 'UTC')` }

// endClaims stores the results of receipts, whose claims the transaction has locked,
// and ends these.
func endClaims(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) error {
	query := `
		UPDATE receipts r SET
			claimed_until = NULL,
			run_id = CASE WHEN o.stays THEN r.run_id END,
			failed_run_id = CASE WHEN o.failed THEN r.run_id WHEN NOT o.asked THEN r.failed_run_id END,
			next_check_at = CASE WHEN o.asked OR o.next_check_at IS NOT NULL THEN o.next_check_at ELSE r.next_check_at END,
			next_check_rule = coalesce(o.next_check_rule, r.next_check_rule),
			environment = coalesce(o.environment, r.environment),
			state = coalesce(o.state, r.state),
			last_checked_at = CASE WHEN o.asked THEN o.at ELSE r.last_checked_at END,
			last_code = CASE WHEN o.asked THEN o.code ELSE r.last_code END,
			last_error = CASE WHEN o.asked THEN o.failure ELSE r.last_error END,
			accepted_at = CASE WHEN o.accepted THEN o.at ELSE r.accepted_at END,
			quarantined_at = CASE WHEN o.quarantined THEN o.at WHEN NOT o.accepted THEN r.quarantined_at END,
			consecutive_failures = CASE WHEN NOT o.asked THEN r.consecutive_failures
			                            WHEN o.accepted THEN 0
			                            ELSE r.consecutive_failures + 1 END,
			failures_alike = CASE WHEN NOT o.asked THEN r.failures_alike
			                      WHEN o.accepted THEN 0
			                      WHEN o.failure = r.last_error THEN r.failures_alike + 1
			                      ELSE 1 END,
			alike_days = CASE WHEN NOT o.asked THEN r.alike_days
			                  WHEN o.accepted THEN 0
			                  WHEN o.failure IS DISTINCT FROM r.last_error THEN 1
			                  WHEN ` + dayOf("o.at") + ` > ` + dayOf("r.last_checked_at") + ` THEN r.alike_days + 1
			                  ELSE r.alike_days END,
			stale_replies = CASE WHEN NOT o.accepted THEN r.stale_replies
			                     WHEN o.news THEN 0
			                     ELSE r.stale_replies + 1 END,
			shows = CASE WHEN o.accepted THEN o.shows ELSE r.shows END,
			covered_by = CASE WHEN o.asked OR o.rests THEN o.covered_by ELSE r.covered_by END
		FROM json_to_recordset($1) AS o(receipt_id bigint, asked boolean, failed boolean, at timestamptz,
		     stays boolean, environment text, state text, code integer, failure text,
		     next_check_at timestamptz, next_check_rule text, accepted boolean, quarantined boolean, news boolean,
		     shows integer, rests boolean, covered_by bigint)
		WHERE r.id = o.receipt_id`
	rows := make([]outcomeRow, len(stored))
	for i, o := range stored {
		rows[i] = outcomeRow{
			ReceiptID: o.ReceiptID, Asked: o.Asked, Failed: failed(o), At: o.At, Stays: o.Stays,
			Environment: o.Environment, State: o.State, Code: o.Code, Failure: o.Failure,
			NextCheckAt: o.NextCheck.At, NextCheckRule: o.NextCheck.Rule,
			Accepted: o.Asked && (o.Conclusion != nil || o.Failure == ""), Quarantined: o.Verdict != nil, News: o.News,
			Shows: o.Shows, Rests: o.Rests, CoveredBy: o.CoveredBy,
		}
	}
	if err := execJSON(ctx, tx, query, rows); err != nil {
		return fmt.Errorf("end claims: %w", err)
	}
	return nil
}

// leaveEnded takes the receipts out of their runs that have ended meanwhile: nobody
// would check them again in these.
func leaveEnded(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) error {
	var ids []int64
	for _, o := range stored {
		if o.Stays {
			ids = append(ids, o.RunID)
		}
	}
	goOn, err := live(ctx, tx, ids)
	if err != nil {
		return err
	}
	for i, o := range stored {
		stored[i].Stays = o.Stays && goOn[o.RunID]
	}
	return nil
}

// appTotals is what a batch adds to one app's part of a run.
type appTotals struct {
	RunID     int64  `json:"run_id"`
	BundleID  string `json:"bundle_id"`
	Claimed   int64  `json:"claimed"`
	Enqueued  int64  `json:"enqueued"`
	Succeeded int64  `json:"succeeded"`
	Failed    int64  `json:"failed"`
	Released  int64  `json:"released"`
	Changed   int64  `json:"changed"`
	// Quarantined are those of Failed that were quarantined.
	Quarantined int64 `json:"quarantined"`
	Calls       int64 `json:"calls"`
	// NewestReply is Apple's time of the newest reply that was believed.
	NewestReply time.Time `json:"newest_reply,omitzero"`
}

// add is t with what another adds to the same app's part of the same run.
func (t appTotals) add(o appTotals) appTotals {
	newest := t.NewestReply
	if o.NewestReply.After(newest) {
		newest = o.NewestReply
	}
	return appTotals{
		t.RunID, t.BundleID, t.Claimed + o.Claimed, t.Enqueued + o.Enqueued, t.Succeeded + o.Succeeded, t.Failed + o.Failed,
		t.Released + o.Released, t.Changed + o.Changed, t.Quarantined + o.Quarantined, t.Calls + o.Calls, newest,
	}
}

// addTotals adds to the figures of runs. In a run that is counted, what comes to it
// later is due as well.
func addTotals(ctx context.Context, tx *sqlx.Tx, totals []appTotals) error {
	const query = `
		INSERT INTO run_apps AS t (run_id, bundle_id, due, claimed, enqueued, succeeded, failed, released, changed, quarantined, calls,
			newest_reply)
		SELECT run_id, bundle_id, (SELECT n.claimed FROM runs WHERE id = n.run_id AND counted_at IS NOT NULL),
		       claimed, enqueued, succeeded, failed, released, changed, quarantined, calls, newest_reply
		FROM json_to_recordset($1) AS n(run_id bigint, bundle_id text, claimed bigint, enqueued bigint, succeeded bigint,
		     failed bigint, released bigint, changed bigint, quarantined bigint, calls bigint,
		     newest_reply timestamptz)
		ORDER BY run_id, bundle_id
		ON CONFLICT (run_id, bundle_id) DO UPDATE SET
			due = CASE WHEN t.due IS NOT NULL THEN greatest(t.due, t.claimed + excluded.claimed) END,
			claimed = t.claimed + excluded.claimed, enqueued = t.enqueued + excluded.enqueued,
			succeeded = t.succeeded + excluded.succeeded, failed = t.failed + excluded.failed,
			released = t.released + excluded.released, changed = t.changed + excluded.changed,
			quarantined = t.quarantined + excluded.quarantined, calls = t.calls + excluded.calls,
			newest_reply = greatest(t.newest_reply, excluded.newest_reply)`
	type key struct {
		id       int64
		bundleID string
	}
	sums := make(map[key]appTotals)
	for _, t := range totals {
		k := key{t.RunID, t.BundleID}
		sums[k] = appTotals{RunID: k.id, BundleID: k.bundleID}.add(sums[k]).add(t)
	}
	rows := slices.SortedFunc(maps.Values(sums), func(a, b appTotals) int {
		return cmp.Or(cmp.Compare(a.RunID, b.RunID), cmp.Compare(a.BundleID, b.BundleID))
	})
	return execJSON(ctx, tx, query, rows)
}

// classTotals is what a batch adds to one class of failures.
type classTotals struct {
	RunID     int64  `json:"run_id"`
	BundleID  string `json:"bundle_id"`
	Class     string `json:"class"`
	Responses int64  `json:"responses"`
}

// failed is whether a check failed, also one whose reply is not believed.
func failed(o claim.Outcome) bool { return o.Failure != "" && (o.Asked || o.Calls > 0) }

// countOutcomes adds stored outcomes to the totals of their runs. changed holds
// the receipts that brought an event.
func countOutcomes(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome, changed map[int64]bool) error {
	const classes = `
		INSERT INTO run_failures AS t (run_id, bundle_id, class, responses)
		SELECT run_id, bundle_id, class, sum(responses)
		FROM json_to_recordset($1) AS n(run_id bigint, bundle_id text, class text, responses bigint)
		GROUP BY run_id, bundle_id, class ORDER BY run_id, bundle_id, class
		ON CONFLICT (run_id, bundle_id, class) DO UPDATE SET responses = t.responses + excluded.responses`
	var totals []appTotals
	var failures []classTotals
	for _, o := range stored {
		if o.RunID == 0 {
			continue
		}
		t := appTotals{RunID: o.RunID, BundleID: o.BundleID, Calls: int64(o.Calls)}
		switch {
		case o.Stays:
		case failed(o):
			t.Failed = 1
		case o.Asked || o.Rests:
			t.Succeeded = 1
		default:
			t.Released = 1
		}
		if failed(o) {
			failures = append(failures, classTotals{o.RunID, o.BundleID, o.Failure, 1})
		}
		if changed[o.ReceiptID] {
			t.Changed = 1
		}
		if o.Conclusion != nil {
			t.NewestReply = o.Conclusion.AsOf
		}
		if o.Verdict != nil {
			t.Quarantined = 1
		}
		if (t != appTotals{RunID: o.RunID, BundleID: o.BundleID}) {
			totals = append(totals, t)
		}
	}
	if err := addTotals(ctx, tx, totals); err != nil {
		return fmt.Errorf("count outcomes: %w", err)
	}
	if err := execJSON(ctx, tx, classes, failures); err != nil {
		return fmt.Errorf("count failures: %w", err)
	}
	return nil
}
