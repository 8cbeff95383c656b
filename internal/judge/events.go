package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"revalidator/internal/applesim"
)

// moment is a row at a time of Apple's.
type moment struct {
	key
	asOf int64
}

// told is what subscription_events tells, per row and moment: each event as its
// type and transaction, in order of these.
func (j *Judge) told(ctx context.Context) (map[moment][]string, error) {
	const query = `
		SELECT CASE WHEN after ? 'expires_date' THEN 'subscriptions' ELSE 'purchases' END, bundle_id, environment,
		       CASE WHEN after ? 'expires_date' THEN original_transaction_id ELSE transaction_id END, as_of,
		       type, transaction_id
		FROM subscription_events`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	told := make(map[moment][]string)
	for rows.Next() {
		var at moment
		var asOf time.Time
		var what, transactionID string
		if err := rows.Scan(&at.table, &at.bundleID, &at.environment, &at.id, &asOf, &what, &transactionID); err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		at.asOf = ms(asOf)
		told[at] = append(told[at], event(what, transactionID))
	}
	for _, events := range told {
		slices.Sort(events)
	}
	return told, rows.Err()
}

func event(what, transactionID string) string { return what + " of " + transactionID }

// imported is when the first receipt came in that shows a row.
func (j *Judge) imported(ctx context.Context) (map[key]time.Time, error) {
	const query = `
		SELECT 'subscriptions', s.bundle_id, s.environment, s.original_transaction_id, min(r.created_at)
		FROM receipt_subscriptions s JOIN receipts r ON r.id = s.receipt_id GROUP BY 1, 2, 3, 4
		UNION ALL
		SELECT 'purchases', p.bundle_id, p.environment, p.transaction_id, r.created_at
		FROM purchases p JOIN receipts r ON r.id = p.first_receipt_id`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read when receipts were imported: %w", err)
	}
	defer func() { _ = rows.Close() }()
	imported := make(map[key]time.Time)
	for rows.Next() {
		var k key
		var at time.Time
		if err := rows.Scan(&k.table, &k.bundleID, &k.environment, &k.id, &at); err != nil {
			return nil, fmt.Errorf("read when receipts were imported: %w", err)
		}
		imported[k] = at
	}
	return imported, rows.Err()
}

// isNews is whether what was bought then is told at its first sight.
func isNews(bought, imported time.Time) bool {
	return !bought.Before(imported.Add(-3 * 24 * time.Hour))
}

// state is the truth about a row at one moment, with the periods that are
// revoked then: when, by transaction id.
type state struct {
	believed
	revoked map[string]int64
}

func revocations(ids ...string) map[string]int64 {
	revoked := make(map[string]int64)
	for _, id := range ids {
		revoked[id] = 0 // the rows say when
	}
	return revoked
}

// shownBy is the state as the replies up to a row could show it. One without old
// transactions shows the newest period only: whether an older one is revoked
// stays as it was known.
func (s state) shownBy(r row, before *state) state {
	shown := make(map[string]int64)
	for id, at := range r.revoked {
		if has(s.revoked, id) || before != nil && has(before.revoked, id) {
			shown[id] = at
		}
	}
	s.revoked = shown
	return s
}

func has(revoked map[string]int64, id string) bool { _, ok := revoked[id]; return ok }

// calledFor are the events that the step from one state to the next calls for,
// by docs/events.md, with their transactions and in order of these: what happened
// twice in between is told once, and what was undone in between is not. A nil
// before is the first sight, of which nothing is told unless it is news.
func calledFor(table string, before *state, after state, isNews bool) []string {
	if before == nil && !isNews {
		return nil
	}
	s := step{after: after}
	if table == purchasesTable {
		s.purchase(before)
	} else {
		s.subscription(before)
	}
	slices.Sort(s.events)
	return s.events
}

// step is a change from one state to the next, and what is told of it.
type step struct {
	before, after state
	events        []string
}

func (s *step) tellIf(when bool, what string) {
	if when {
		s.events = append(s.events, event(what, s.after.TransactionID))
	}
}

func (s *step) purchase(before *state) {
	s.tellIf(before == nil, "purchased")
	if before != nil {
		s.before = *before
	}
	s.revocations()
}

func (s *step) subscription(before *state) {
	if before == nil {
		s.tellIf(true, "started")
		s.offer("started")
		s.before = opening(s.after)
	} else {
		s.before = *before
	}
	by := s.period()
	s.tellIf(by != "", by)
	if s.isNew() {
		s.offer(by)
	}
	s.revocations()
	s.status(by)
	s.plans()
}

// opening is the state with which the period began.
func opening(s state) state {
	s.Status, s.revoked, s.PriceConsentStatus = string(applesim.StatusActive), nil, ""
	if s.AutoRenewStatus != nil {
		s.AutoRenewStatus, s.AutoRenewProductID = new(true), s.ProductID
	}
	return s
}

func (s *step) isNew() bool { return s.before.TransactionID != s.after.TransactionID }

// period is the event of a new period, and of a new end of the same one.
func (s *step) period() string {
	was, is := s.before, s.after
	refunded, isRevoked := is.revoked[was.TransactionID]
	switch gap := time.Duration(is.PurchaseDate-was.ExpiresDate) * time.Millisecond; {
	case !s.isNew() && is.ExpiresDate > was.ExpiresDate:
		return "extended"
	case !s.isNew():
		return ""
	case was.Status == "revoked", isRevoked && refunded <= is.PurchaseDate:
		return "resubscribed"
	case was.Status == "active" && was.ProductID != is.ProductID && gap < 0:
		return "" // an upgrade
	case was.Status == "billing_grace_period", was.Status == "billing_retry":
		return "recovered"
	case was.Status == "expired" && (was.ExpirationIntent != "" || gap > 24*time.Hour):
		return "resubscribed"
	}
	return "renewed"
}

// offer tells what a new period was bought with.
func (s *step) offer(by string) {
	was, is := s.before, s.after
	anew := by == "started" || by == "resubscribed"
	s.tellIf(is.IsIntroductory && !is.IsTrialPeriod && (anew || !was.IsIntroductory), "offer_redeemed")
	s.tellIf(is.IsTrialPeriod && (anew || !was.IsTrialPeriod), "trial_started")
	s.tellIf(was.IsTrialPeriod && !is.IsTrialPeriod && !anew, "trial_converted")
}

// revocations tells each period that is revoked now, or is so no more.
func (s *step) revocations() {
	lost := "refunded"
	if s.after.Ownership == "FAMILY_SHARED" {
		lost = "family_access_lost"
	}
	for id := range s.after.revoked {
		if !has(s.before.revoked, id) {
			s.events = append(s.events, event(lost, id))
		}
	}
	for id := range s.before.revoked {
		if !has(s.after.revoked, id) {
			s.events = append(s.events, event("refund_reversed", id))
		}
	}
}

// status tells an ending or a failed payment, unless it is known. What follows a
// new period or end, or a refund that was taken back, follows an active one.
func (s *step) status(by string) {
	since := s.before.Status
	if s.isNew() || by != "" || since == "revoked" && !has(s.after.revoked, s.before.TransactionID) {
		since = "active"
	}
	if since != s.after.Status {
		s.tellIf(s.after.Status == "expired", "expired")
		s.tellIf(s.after.Status == "billing_grace_period", "entered_grace_period")
		s.tellIf(s.after.Status == "billing_retry", "entered_billing_retry")
	}
}

// plans tells what is planned for the next period.
func (s *step) plans() {
	was, is := s.before, s.after
	s.tellIf(was.ProductID != is.ProductID, "product_changed")
	if was.AutoRenewStatus != nil && is.AutoRenewStatus != nil {
		s.tellIf(!*was.AutoRenewStatus && *is.AutoRenewStatus, "auto_renew_enabled")
		s.tellIf(*was.AutoRenewStatus && !*is.AutoRenewStatus, "auto_renew_disabled")
		goesOn := is.AutoRenewProductID == is.ProductID && (s.isNew() || was.ProductID != is.ProductID)
		s.tellIf(was.AutoRenewProductID != is.AutoRenewProductID && !goesOn, "product_change_scheduled")
	}
	s.tellIf(was.PriceConsentStatus != "0" && is.PriceConsentStatus == "0", "price_increase_pending")
	s.tellIf(was.PriceConsentStatus != "1" && is.PriceConsentStatus == "1", "price_increase_accepted")
}
