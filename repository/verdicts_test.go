package repository_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
	"revalidator/repository"
)

// TestDaysOfFailuresAndAcceptance goes from check to check of one receipt. What is
// kept of it is what a worker reads.
func TestDaysOfFailuresAndAcceptance(t *testing.T) {
	w := newWard(t, 1)
	w.exec(`UPDATE receipts SET state = 'new', accepted_at = NULL, last_checked_at = NULL`)
	type kept struct {
		Alike, Days int
		Accepted    string
	}
	const date = "01-02 15:04"
	for i, step := range []struct {
		after time.Duration // since noon
		class string
		want  kept
	}{
		{0, gone, kept{1, 1, ""}},
		{11 * time.Hour, gone, kept{2, 1, ""}},
		{12 * time.Hour, gone, kept{3, 2, ""}}, // midnight in UTC
		{36 * time.Hour, "timeout", kept{1, 1, ""}},
		{60 * time.Hour, gone, kept{1, 1, ""}},
		{61 * time.Hour, "", kept{0, 0, "03-04 01:00"}},
		{84 * time.Hour, gone, kept{1, 1, "03-04 01:00"}},
		{108 * time.Hour, gone, kept{2, 2, "03-04 01:00"}},
		{107 * time.Hour, gone, kept{3, 2, "03-04 01:00"}}, // a clock was set back
		{170 * time.Hour, "", kept{0, 0, "03-08 14:00"}},
	} {
		w.save(w.outcomes(noon.Add(step.after), 1, 1, step.class)...)
		w.exec(`UPDATE receipts SET claimed_until = 'infinity', generation = generation + 1`)
		r, err := w.ClaimedReceipt(t.Context(), 1, int64(2*i+2))
		w.must(err)
		got := kept{Alike: r.FailuresAlike, Days: r.AlikeDays}
		if r.Accepted() {
			got.Accepted = r.AcceptedAt.UTC().Format(date)
		}
		if diff := cmp.Diff(step.want, got); diff != "" || !r.LastCheckedAt.Equal(noon.Add(step.after)) {
			t.Errorf("step %d, checked at %v (-want +got)\n%s", i+1, r.LastCheckedAt, diff)
		}
	}
	// What is not asked about changes none of it.
	notAsked := w.outcomes(noon.Add(200*time.Hour), 1, 1, "held_back")
	notAsked[0].Asked = false
	before := w.row(1)
	w.save(notAsked...)
	if diff := cmp.Diff(before, w.row(1)); diff != "" {
		t.Errorf("after a check that was not made (-before +after)\n%s", diff)
	}
}

// row is what is kept of a receipt's past.
func (w *ward) row(id int64) (text string) {
	w.t.Helper()
	w.must(w.sql.GetContext(w.t.Context(), &text, `SELECT concat_ws(' ', last_checked_at, accepted_at, quarantined_at,
		last_error, consecutive_failures, failures_alike, alike_days) FROM receipts WHERE id = $1`, id))
	return text
}

// TestReleaseKeepsThatAppleAcceptedIt, whatever was believed since.
func TestReleaseKeepsThatAppleAcceptedIt(t *testing.T) {
	w := newWard(t, 2)
	w.save(accused(w.outcomes(noon, 1, 2, gone))...)
	if got := w.count(`SELECT count(*) FROM receipts WHERE state = 'account_gone' AND next_check_at IS NULL AND run_id IS NULL AND quarantined_at = $1`, noon); got != 2 {
		t.Fatalf("%d receipts in quarantine, want 2", got)
	}
	released, err := w.Release(t.Context(), repository.QuarantineQuery{IDs: []int64{1}, Limit: 10}, noon)
	w.must(err)
	if len(released) != 1 {
		t.Fatalf("released %v", released)
	}
	w.exec(`UPDATE receipts SET claimed_until = 'infinity', generation = 9 WHERE id = 1`)
	r, err := w.ClaimedReceipt(t.Context(), 1, 9)
	w.must(err)
	if !r.Accepted() || r.State != iap.ReceiptNew || r.FailuresAlike != 0 || r.AlikeDays != 0 {
		t.Errorf("released: %+v, want new, accepted before, and nothing held against it", r)
	}
	w.save(w.outcomes(noon.Add(time.Hour), 2, 2, "")...) // Apple has changed its mind
	if got := w.count(`SELECT count(*) FROM receipts WHERE quarantined_at IS NOT NULL OR state NOT IN ('new', 'valid')`); got != 0 {
		t.Errorf("%d receipts are still said to be in quarantine", got)
	}
}

// TestReleaseOfAWave chooses receipts by when they were quarantined.
func TestReleaseOfAWave(t *testing.T) {
	w := newWard(t, 5)
	w.save(accused(w.outcomes(noon, 1, 2, gone))...)
	w.save(accused(w.outcomes(noon.Add(48*time.Hour), 3, 5, gone))...)
	wave := repository.QuarantineQuery{Since: noon.Add(24 * time.Hour), Limit: 10}
	found, err := w.Quarantined(t.Context(), wave)
	w.must(err)
	counts, err := w.QuarantineCounts(t.Context(), wave)
	w.must(err)
	released, err := w.Release(t.Context(), wave, noon.Add(50*time.Hour))
	w.must(err)
	if got := fmt.Sprint(len(found), counts[0].Receipts, len(released)); got != "3 3 3" {
		t.Errorf("found, counted and released %s, want 3 each", got)
	}
	if got := w.count(`SELECT count(*) FROM receipts WHERE id <= 2 AND state = 'account_gone'`); got != 2 {
		t.Errorf("%d of an earlier day are left, want 2", got)
	}
}

// TestLiveSubscriptionsAreStillChecked quarantines receipts for good, of which each
// shows one subscription.
func TestLiveSubscriptionsAreStillChecked(t *testing.T) {
	statuses := iap.Statuses()
	w := newWard(t, len(statuses)+2)
	for i, status := range statuses {
		w.exec(`INSERT INTO subscriptions (bundle_id, environment, original_transaction_id, status, product_id, transaction_id,
			expires_date, is_in_billing_retry_period, is_trial_period, is_upgraded, as_of, updated_at)
			VALUES ($1, 'Production', $2, $3, 'monthly', '1', $4, false, false, false, $4, $4)`, app, fmt.Sprint(i+1), status, noon)
		w.exec(`INSERT INTO receipt_subscriptions VALUES ($1, $2, 'Production', $3)`, i+1, app, fmt.Sprint(i+1))
	}
	shown, all := int64(len(statuses)), int64(len(statuses)+2)
	w.save(accused(w.outcomes(noon, 1, all, gone))...)
	type next struct {
		ID   int64
		At   *time.Time
		Rule iap.Rule
	}
	check := func(when string, at time.Time) {
		t.Helper()
		var got []next
		w.must(w.sql.SelectContext(t.Context(), &got, `SELECT id, next_check_at AS at, next_check_rule AS rule FROM receipts ORDER BY id`))
		for i, g := range got {
			want := next{ID: int64(i + 1), Rule: iap.RuleSetAside}
			if i < len(statuses) && statuses[i] != iap.StatusExpired && statuses[i] != iap.StatusRevoked {
				later := at.Add(7 * 24 * time.Hour)
				want.At, want.Rule = &later, iap.RuleQuarantineCheck
			}
			if diff := cmp.Diff(want, g); diff != "" {
				t.Errorf("%s: receipt %d (-want +got)\n%s", when, i+1, diff)
			}
		}
	}
	check("quarantined", noon)
	// A week later the same is said, and no verdict is needed.
	at := noon.Add(7 * 24 * time.Hour)
	again := w.outcomes(at, 1, shown, gone)
	for i := range again {
		again[i].NextCheck = iap.Check{Rule: iap.RuleSetAside}
	}
	w.save(again...)
	check("a week later", at)
}

// TestVerdictsOfLostClaims are worth nothing.
func TestVerdictsOfLostClaims(t *testing.T) {
	w := newWard(t, 1)
	lost := accused(w.outcomes(noon, 1, 1, gone))
	w.exec(`UPDATE receipts SET generation = generation + 1`)
	if saved := w.save(lost...); saved[0] {
		t.Error("saved under a claim that was lost")
	}
	if got := w.count(`SELECT count(*) FROM receipts WHERE state <> 'valid' OR next_check_at IS NULL`); got != 0 {
		t.Error("quarantined under a claim that was lost")
	}
}

// TestForgettingLeavesNoLiveSubscriptionUnchecked removes the one receipt that was
// checked of three that show a subscription.
func TestForgettingLeavesNoLiveSubscriptionUnchecked(t *testing.T) {
	w := newWard(t, 3)
	w.exec(`INSERT INTO subscriptions (bundle_id, environment, original_transaction_id, status, product_id, transaction_id,
		expires_date, is_in_billing_retry_period, is_trial_period, is_upgraded, as_of, updated_at)
		VALUES ($1, 'Production', '1', 'active', 'monthly', '1', $2, false, false, false, $2, $2)`, app, noon)
	w.exec(`INSERT INTO receipt_subscriptions SELECT id, $1, 'Production', '1' FROM receipts`, app)
	w.exec(`UPDATE receipts SET next_check_at = NULL, next_check_rule = 'set_aside', state = 'account_gone', customer_ref = 'a' WHERE id = 1`)
	w.exec(`UPDATE receipts SET next_check_at = NULL, next_check_rule = 'settled', customer_ref = 'b' WHERE id = 2`)
	w.exec(`UPDATE receipts SET customer_ref = 'c' WHERE id = 3`)
	_, err := w.Forget(t.Context(), "c", "", func(string) iap.Policy { return iap.DefaultPolicy() }, noon)
	w.must(err)
	if got := w.count(`SELECT count(*) FROM receipts WHERE id = 1 AND next_check_at = $1 AND next_check_rule = 'quarantine_check'`, noon.Add(7*24*time.Hour)); got != 1 {
		t.Error("the quarantined receipt is not checked in a week")
	}
	if got := w.count(`SELECT count(*) FROM receipts WHERE id = 2 AND next_check_at IS NOT NULL AND next_check_rule <> 'settled'`); got != 1 {
		t.Error("the settled receipt is not checked again")
	}
}
