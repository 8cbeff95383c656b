package iap

import (
	"hash/fnv"
	"time"
)

// Check is the next check of a receipt. A zero At means never again, which only
// RuleSettled may say.
type Check struct {
	At   time.Time
	Rule Rule
	// OriginalTransactionID is the subscription or purchase that calls for the
	// check, empty where none does.
	OriginalTransactionID string
}

// Plan says when a receipt is checked next, and by which rule: the earliest check
// that any of the subscriptions and purchases calls for which it shows, as they
// are after Merge. It is pure; now is Apple's time of the facts, and id spreads
// receipts that would otherwise all be due in the same second. No check lies later
// than the Ceiling.
func (p Policy) Plan(c Conclusion, now time.Time, id int64) Check {
	next := p.earliest(c, now, id)
	if latest := now.Add(p.Ceiling()); next.At.After(latest) {
		next.At = latest
	}
	return next
}

// Brought is what a reply brought to the rows that its receipt shows.
type Brought struct {
	// News is whether a row moved forward in Apple's time.
	News bool
	// ShowsLess is whether the reply shows less of a row than is stored.
	ShowsLess bool
}

// PlanAfter is Plan after a reply that came at a time of ours: c are the merged rows
// that the receipt shows, without those of which the reply shows less. Where it
// did, the next check comes soon, and where the reply brought nothing new, no
// sooner than after the back-off: a stored expiry that has passed must not make the
// receipt due at once, again and again.
func (p Policy) PlanAfter(c Conclusion, b Brought, at time.Time, backoff time.Duration, id int64) Check {
	next, again := p.Plan(c, c.AsOf, id), Check{At: at.Add(backoff), Rule: RuleShowsLess}
	switch {
	case next.At.IsZero() && !b.ShowsLess:
		return next
	case b.ShowsLess:
		next = earliest(next, again)
	}
	if !b.News || !next.At.After(at) {
		next.At = latest(next.At, again.At)
	}
	return next
}

// CoveredAfter is how long after the next check of the receipt that covers it a
// covered receipt is due: by then what that check found is stored, and the covered
// one rests again without being checked, or it was missed.
const CoveredAfter = 2 * day

// Covered is the next check of a receipt that rests from now on because another one
// is checked instead, at the time of that one's next check or, where it is overdue,
// some time from now.
func Covered(next, now time.Time) Check {
	return Check{At: latest(next, now).Add(CoveredAfter), Rule: RuleCovered}
}

// Reach orders kinds of receipts by how much a check of one can show: an app
// receipt all of a customer's purchases, a transaction receipt one.
func (k ReceiptKind) Reach() int {
	if k == KindAppReceipt {
		return 1
	}
	return 0
}

func (p Policy) earliest(c Conclusion, now time.Time, id int64) Check {
	if len(c.Subscriptions)+len(c.Purchases)+len(c.Undated) == 0 {
		return p.at(now, spread(id)).wait(RuleNoPurchases, p.SweepEvery)
	}
	next := Check{Rule: RuleSettled}
	for _, undated := range c.Undated {
		k := p.at(now, spread(id)).wait(RuleUndated, p.Undated)
		k.OriginalTransactionID = undated
		next = earliest(next, k)
	}
	for _, s := range c.Subscriptions {
		if s.replaced(c) {
			continue
		}
		here := p.scaled(s.Environment, s.ExpiresDate.Sub(s.PurchaseDate)).at(now, spread(id))
		k := earliest(here.subscription(s), here.reversal(s.unrevokedSince()))
		k.OriginalTransactionID = s.OriginalTransactionID
		next = earliest(next, k)
	}
	for _, o := range c.Purchases {
		k := p.scaled(o.Environment, 0).at(now, spread(id)).purchase(o)
		k.OriginalTransactionID = o.OriginalTransactionID
		next = earliest(next, k)
	}
	if next.At.IsZero() {
		return Check{Rule: RuleSettled}
	}
	return next
}

// replaced reports whether a subscription has ended and another one of its
// group is live: a customer has one of a group at a time, so that nothing comes
// of it while that one lives.
func (s Subscription) replaced(c Conclusion) bool {
	if s.live() || s.SubscriptionGroupIdentifier == "" {
		return false
	}
	for _, other := range c.Subscriptions {
		if other.live() && other.SubscriptionGroupIdentifier == s.SubscriptionGroupIdentifier && other.Environment == s.Environment {
			return true
		}
	}
	return false
}

// live reports whether the subscription has not ended: it is paid for, or
// Apple still tries to have it paid.
func (s Subscription) live() bool {
	return s.Status == StatusActive || s.Status == StatusGracePeriod || s.Status == StatusBillingRetry
}

// planner is the policy at one moment for one receipt.
type planner struct {
	Policy
	now time.Time
	// spread is where in a window the receipt falls, from 0 to 1.
	spread float64
}

func (p Policy) at(now time.Time, spread float64) planner { return planner{p, now, spread} }

// subscription is the policy, state by state. Policy.Table says the same in
// words.
func (p planner) subscription(s Subscription) Check {
	sinceExpiry := p.now.Sub(s.ExpiresDate)
	switch s.Status {
	case StatusActive:
		return p.active(s)
	case StatusGracePeriod:
		return earliest(
			p.after(RuleGracePeriodEnd, s.GracePeriodExpiresDate),
			p.wait(RuleGracePeriod, p.atMost(p.FailedPayment)))
	case StatusBillingRetry:
		return p.billingRetry(s, sinceExpiry)
	case StatusRevoked:
		return p.revoked(s.RevocationDate)
	}
	if s.ExpirationIntent == "" && !s.IsUpgraded {
		for _, step := range p.LapseSteps {
			if k := p.after(RuleLapse, s.ExpiresDate.Add(step-p.AfterExpiry)); k.At.After(p.now) {
				return k
			}
		}
	}
	if s.IsUpgraded {
		// What is left of it is the period that the upgrade cut short.
		return p.ended(p.now.Sub(s.PurchaseDate))
	}
	return p.ended(sinceExpiry)
}

func (p planner) active(s Subscription) Check {
	next := p.after(RuleExpiry, s.ExpiresDate)
	if s.AutoRenewStatus == nil || *s.AutoRenewStatus {
		next.Rule = RuleRenewal
		if before := s.ExpiresDate.Add(-p.lead()); p.lead() > 0 && before.After(p.now) {
			next.At = before
		}
	}
	if s.PriceConsentStatus == "0" || s.PriceIncreaseStatus == "0" {
		next = earliest(next, p.wait(RulePriceIncrease, p.PriceIncrease))
	}
	if s.ExpiresDate.Sub(p.now) > p.sweepFrom() {
		next = earliest(next, p.sweep(s))
	}
	return next
}

// sweep is a look in the middle of a long period, in which nothing is expected
// and anything can come. What is left until the last sweep is cut into equal
// parts, which spreads the sweeps of many receipts as their expiries are.
func (p planner) sweep(s Subscription) Check {
	longest := p.SweepEvery
	if p.now.Sub(s.PurchaseDate) >= p.SweepLateFrom {
		longest = p.SweepLate
	}
	wait := s.ExpiresDate.Sub(p.now) - min(p.SweepLast, p.SweepEvery)
	if parts := (wait + longest - 1) / longest; parts > 1 {
		wait /= parts
	}
	return Check{At: p.now.Add(wait - p.early(wait)), Rule: RuleRefundSweep}
}

func (p planner) billingRetry(s Subscription, sinceExpiry time.Duration) Check {
	if sinceExpiry >= p.BillingRetryFor {
		return p.wait(RuleBillingRetryEnd, p.atMost(p.BillingRetryOverdue))
	}
	wait := p.FailedPayment
	if sinceExpiry >= p.BillingRetryLateFrom {
		wait = max(wait, sinceExpiry/time.Duration(p.BillingRetryShare))
	}
	next := earliest(
		p.after(RuleBillingRetryEnd, s.ExpiresDate.Add(p.BillingRetryFor)),
		p.wait(RuleBillingRetry, p.atMost(wait)))
	if end := p.after(RuleGracePeriodEnd, s.ExpiresDate.Add(p.GraceFor)); p.GraceFor > 0 && end.At.After(p.now) {
		next = earliest(next, end)
	}
	return next
}

func (p planner) revoked(at time.Time) Check {
	next := p.ended(p.now.Sub(at))
	if next.Rule == RuleResubscribe && p.now.Before(at.Add(p.ReversalFor)) {
		next.Rule = RuleRefundReversal
	}
	return next
}

// reversal is the check that confirms a refund which replies since then show as
// taken back. Once it has come there is no other: either it confirmed the reversal,
// or the reply did not show the period any more.
func (p planner) reversal(since time.Time) Check {
	next := p.after(RuleRefundReversal, since.Add(reversalAfter))
	if since.IsZero() || !next.At.After(p.now) {
		return Check{Rule: RuleSettled}
	}
	return next
}

// unrevokedSince is when replies began to show a revoked period as paid, the first
// of all such periods.
func (s Subscription) unrevokedSince() (since time.Time) {
	for _, r := range s.Revocations {
		since = earlier(since, r.UnrevokedSince)
	}
	return since
}

// ended looks for customers who come back from Settings, without opening the
// app, after their service ended; most of those who do come soon.
func (p planner) ended(ago time.Duration) Check {
	if ago >= p.ResubscribeFor {
		return Check{Rule: RuleSettled}
	}
	return p.wait(RuleResubscribe, p.nextStep(ago))
}

// nextStep is the wait for the next of the steps, which is the one after where
// the next is nearer than half of the way from the one before.
func (p planner) nextStep(ago time.Duration) time.Duration {
	var last time.Duration
	for _, step := range p.ResubscribeSteps {
		if step-ago > (step-last)/2 {
			return min(step-ago, step) // a refund can be dated ahead
		}
		last = step
	}
	return p.ResubscribeEvery
}

func (p planner) purchase(o Purchase) Check {
	switch {
	case !o.RevocationDate.IsZero():
		next := p.revoked(o.RevocationDate)
		if next.Rule != RuleRefundReversal {
			next = Check{Rule: RuleSettled}
		}
		return earliest(next, p.reversal(o.UnrevokedSince))
	case p.now.Before(o.PurchaseDate.Add(p.PurchaseFor)):
		return p.wait(RulePurchaseSweep, p.SweepEvery)
	}
	return Check{Rule: RuleSettled}
}

// after is a look just after a date, never before it, because Apple would
// still give the old answer.
func (p planner) after(rule Rule, date time.Time) Check {
	return Check{At: date.Add(p.AfterExpiry + time.Duration(float64(p.AfterExpiry)*p.spread/2)), Rule: rule}
}

// lead is how long before a renewal a look is due. A renewal shows within the 24
// hours before it: a run that comes in the last of them finds most, which the
// next run would find most of a day late. Where no run does, the first one after
// the renewal takes the look.
func (p Policy) lead() time.Duration { return min(p.BeforeExpiry, p.RunEvery*3/10) }

// wait is a look after a wait, at the run nearest to it, and never later than
// the wait by more than the time to the next run.
func (p planner) wait(rule Rule, wait time.Duration) Check {
	wait -= p.early(wait)
	return Check{At: p.now.Add(wait - time.Duration(float64(wait)*p.Jitter*p.spread)), Rule: rule}
}

// atMost keeps the wait for a live subscription below the ceiling, which an app
// can have of its own.
func (p planner) atMost(wait time.Duration) time.Duration {
	return min(wait, max(p.SweepEvery, p.SweepLate))
}

// early is by how much a look after a wait is due before it is over.
func (p planner) early(wait time.Duration) time.Duration { return min(p.RunEvery, wait) / 2 }

// earliest is the check that comes first. Never is later than any time.
func earliest(a, b Check) Check {
	if a.At.IsZero() || (!b.At.IsZero() && b.At.Before(a.At)) {
		return b
	}
	return a
}

// spread is where in its window a receipt falls, from 0 to 1: the same for a
// receipt each time, and different from its neighbour's.
func spread(id int64) float64 {
	h := fnv.New32a()
	for shift := 0; shift < 64; shift += 8 {
		_, _ = h.Write([]byte{byte(id >> shift)})
	}
	return float64(h.Sum32()) / float64(1<<32)
}
