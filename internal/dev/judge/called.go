package judge

import (
	"slices"
	"time"

	"revalidator/internal/dev/applesim"
)

// isNews is whether what was bought then is told at its first sight.
func isNews(bought, imported time.Time) bool {
	return !bought.Before(imported.Add(-3 * 24 * time.Hour))
}

// state is what is the case with a row at one moment, with the periods that are
// revoked then: when, by transaction id.
type state struct {
	believed
	revoked map[string]int64
	// reversed are refunds that were taken back, which takes two answers to be
	// believed, and original the original purchase: of the truth only.
	reversed []string
	original int64
}

func revocations(ids ...string) map[string]int64 {
	revoked := make(map[string]int64)
	for _, id := range ids {
		revoked[id] = 0 // the rows say when
	}
	return revoked
}

func has[T any](all map[string]T, id string) bool { _, ok := all[id]; return ok }

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

// isNew is whether another period was bought. One whose refund is known, because it
// was refunded before it began, never was one, and the one before it is none again.
func (s *step) isNew() bool {
	return s.before.TransactionID != s.after.TransactionID && s.before.PurchaseDate <= s.after.PurchaseDate && !s.neverBegan()
}

func (s *step) neverBegan() bool {
	return s.after.Status == "revoked" && s.before.Status != "revoked" && has(s.before.revoked, s.after.TransactionID)
}

// period is the event of a new period, and of a new end of the same one.
func (s *step) period() string {
	was, is := s.before, s.after
	refunded, isRevoked := is.revoked[was.TransactionID]
	switch gap := time.Duration(is.PurchaseDate-was.ExpiresDate) * time.Millisecond; {
	case !s.isNew() && is.ExpiresDate > was.ExpiresDate && !s.neverBegan():
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
	s.tellIf(is.OfferCodeRefName != "" && (anew || was.OfferCodeRefName != is.OfferCodeRefName), "offer_redeemed")
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
		s.tellIf(s.after.Status == "expired" || s.neverBegan(), "expired")
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
