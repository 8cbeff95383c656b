package iap

import (
	"hash/fnv"
	"time"
)

// Rule names why a receipt is looked at again when it is. It is stored with
// the receipt, so that an operator can always ask.
type Rule string

// The rules of Plan, the one that a new receipt starts with, and those that
// stand in for Plan where Apple gave no facts to plan from.
const (
	RuleRetry           Rule = "retry"     // no usable answer: after a back-off
	RuleWait            Rule = "wait"      // not asked: a limit is in force
	RuleConfirm         Rule = "confirm"   // Apple says something final: confirm it on another day
	RuleSetAside        Rule = "set_aside" // no other answer can come: a person decides
	RuleNew             Rule = "new"
	RuleRequested       Rule = "requested"         // a person asked for a look
	RuleRenewal         Rule = "renewal"           // active: just after it expires or renews
	RuleLapse           Rule = "lapse"             // expired less than a day ago without a reason: Apple may be late
	RuleGracePeriod     Rule = "grace_period"      // payment failed, customer keeps the service
	RuleGracePeriodEnd  Rule = "grace_period_end"  // the next look is just after the grace period
	RuleBillingRetry    Rule = "billing_retry"     // payment failed, Apple keeps trying
	RuleBillingRetryEnd Rule = "billing_retry_end" // Apple has just stopped trying
	RuleResubscribe     Rule = "resubscribe"       // expired: people come back
	RuleRefundReversal  Rule = "refund_reversal"   // revoked: a refund can be reversed
	RuleRefundSweep     Rule = "refund_sweep"      // paid for long: a refund can come at any time
	RuleNoPurchases     Rule = "no_purchases"      // nothing was ever bought
	RuleSettled         Rule = "settled"           // nothing can change any more: no next check
)

// Policy is how often a receipt is looked at. Durations are of production;
// sandbox clocks run faster by SandboxScale.
type Policy struct {
	// AfterExpiry is how long after expiry Apple is asked about a renewal.
	AfterExpiry time.Duration
	// LapseSteps are the waits, counted from expiry, while an expiry without
	// a reason may still turn into a renewal.
	LapseSteps []time.Duration
	// GracePeriod is the wait between two looks at a failed payment in the
	// grace period.
	GracePeriod time.Duration
	// BillingRetryEarly is the wait in the first BillingRetryEarlyFor after
	// expiry, BillingRetry the wait after that until BillingRetryFor is over,
	// which is how long Apple tries.
	BillingRetryEarly, BillingRetryEarlyFor time.Duration
	BillingRetry, BillingRetryFor           time.Duration
	// ResubscribeSteps are looks counted from expiry, after which every
	// ResubscribeEvery until ResubscribeFor is over.
	ResubscribeSteps                 []time.Duration
	ResubscribeEvery, ResubscribeFor time.Duration
	// RevokedSteps are looks counted from the revocation.
	RevokedSteps []time.Duration
	// SweepEvery is the ceiling on how long a live receipt goes unseen, and
	// the rhythm in which one-time purchases are watched until SweepFor after
	// the purchase.
	SweepEvery, SweepFor time.Duration
	// SandboxScale divides every duration for sandbox receipts.
	SandboxScale int
	// Jitter is the share of a wait by which it may be longer or shorter.
	Jitter float64
}

const day = 24 * time.Hour

// DefaultPolicy is the policy that the program ships with. Apple retries a
// failed payment for 60 days, and one program that gave up after 15 lost
// renewals (osmandapp/OsmAnd-tools#1729).
// https://developer.apple.com/documentation/storekit/in-app_purchase/reducing_involuntary_subscriber_churn
func DefaultPolicy() Policy {
	return Policy{
		AfterExpiry:          10 * time.Minute,
		LapseSteps:           []time.Duration{time.Hour, 4 * time.Hour, 12 * time.Hour, day},
		GracePeriod:          12 * time.Hour,
		BillingRetryEarly:    12 * time.Hour,
		BillingRetryEarlyFor: 7 * day,
		BillingRetry:         day,
		BillingRetryFor:      60 * day,
		ResubscribeSteps:     []time.Duration{day, 7 * day, 30 * day, 60 * day},
		ResubscribeEvery:     30 * day,
		ResubscribeFor:       365 * day,
		RevokedSteps:         []time.Duration{day, 7 * day},
		SweepEvery:           30 * day,
		SweepFor:             90 * day,
		SandboxScale:         24 * 60,
		Jitter:               0.1,
	}
}

// Check is the next look at a receipt. A zero At means never again, which only
// RuleSettled may say.
type Check struct {
	At   time.Time
	Rule Rule
	// OriginalTransactionID is the subscription that wants the look, empty
	// where none does.
	OriginalTransactionID string
}

// Plan says when a receipt that shows c is looked at next, and by which rule:
// the earliest look that any of its subscriptions and purchases wants. It is
// pure; now is Apple's time of the facts, and id spreads receipts that would
// otherwise all be due in the same second.
func (p Policy) Plan(c Conclusion, now time.Time, id int64) Check {
	next := Check{Rule: RuleSettled}
	consider := func(k Check) {
		if !k.At.IsZero() && (next.At.IsZero() || k.At.Before(next.At)) {
			next = k
		}
	}
	for _, s := range c.Subscriptions {
		k := p.scaled(s.Environment).subscription(s, now, spread(id))
		k.OriginalTransactionID = s.OriginalTransactionID
		consider(k)
	}
	for _, o := range c.Purchases {
		consider(p.scaled(o.Environment).purchase(o, now, spread(id)))
	}
	if len(c.Subscriptions)+len(c.Purchases) == 0 {
		return Check{At: p.in(p.SweepEvery, now, spread(id)), Rule: RuleNoPurchases}
	}
	return next
}

// subscription is the table of the policy: one rule per state.
func (p Policy) subscription(s Subscription, now time.Time, spread float64) Check {
	anchored := func(rule Rule, from time.Time, steps ...time.Duration) Check {
		return Check{At: p.nextStep(from, now, steps, spread), Rule: rule}
	}
	switch s.Status {
	case StatusActive:
		return sooner(
			anchored(RuleRenewal, s.ExpiresDate, p.AfterExpiry),
			Check{At: p.in(p.SweepEvery, now, spread), Rule: RuleRefundSweep})
	case StatusGracePeriod:
		return sooner(
			anchored(RuleGracePeriodEnd, s.GracePeriodExpiresDate, p.AfterExpiry),
			Check{At: p.in(p.GracePeriod, now, spread), Rule: RuleGracePeriod})
	case StatusBillingRetry:
		return p.billingRetry(s, now, spread)
	case StatusRevoked:
		if k := anchored(RuleRefundReversal, s.RevocationDate, p.RevokedSteps...); !k.At.IsZero() {
			return k
		}
		return p.resubscribe(s.RevocationDate, now, spread)
	}
	if s.ExpirationIntent == "" && !s.IsUpgraded && now.Before(s.ExpiresDate.Add(p.LapseSteps[len(p.LapseSteps)-1])) {
		return anchored(RuleLapse, s.ExpiresDate, p.LapseSteps...)
	}
	return p.resubscribe(s.ExpiresDate, now, spread)
}

func (p Policy) billingRetry(s Subscription, now time.Time, spread float64) Check {
	wait := p.BillingRetry
	if now.Before(s.ExpiresDate.Add(p.BillingRetryEarlyFor)) {
		wait = p.BillingRetryEarly
	}
	return sooner(
		Check{At: p.nextStep(s.ExpiresDate, now, []time.Duration{p.BillingRetryFor + p.AfterExpiry}, spread), Rule: RuleBillingRetryEnd},
		Check{At: p.in(wait, now, spread), Rule: RuleBillingRetry})
}

// resubscribe looks for customers who come back from Settings, without opening
// the app, after their service ended.
func (p Policy) resubscribe(ended, now time.Time, spread float64) Check {
	if at := p.nextStep(ended, now, p.ResubscribeSteps, spread); !at.IsZero() {
		return Check{At: at, Rule: RuleResubscribe}
	}
	if now.Before(ended.Add(p.ResubscribeFor)) {
		return Check{At: p.in(p.ResubscribeEvery, now, spread), Rule: RuleResubscribe}
	}
	return Check{Rule: RuleSettled}
}

func (p Policy) purchase(o Purchase, now time.Time, spread float64) Check {
	if !o.RevocationDate.IsZero() {
		return Check{At: p.nextStep(o.RevocationDate, now, p.RevokedSteps, spread), Rule: RuleRefundReversal}
	}
	if now.Before(o.PurchaseDate.Add(p.SweepFor)) {
		return Check{At: p.in(p.SweepEvery, now, spread), Rule: RuleRefundSweep}
	}
	return Check{Rule: RuleSettled}
}

// nextStep is the first of the steps after from that lies ahead of now, and
// the zero time where all have passed. It is never earlier than its step,
// because Apple would still give the old answer.
func (p Policy) nextStep(from, now time.Time, steps []time.Duration, spread float64) time.Time {
	for _, step := range steps {
		at := from.Add(step + time.Duration(float64(step)*p.Jitter*spread))
		if at.After(now) {
			return at
		}
	}
	return time.Time{}
}

// in is a wait from now, longer or shorter by the jitter.
func (p Policy) in(wait time.Duration, now time.Time, spread float64) time.Time {
	return now.Add(wait + time.Duration(float64(wait)*p.Jitter*(2*spread-1)))
}

// scaled is the policy for an environment.
func (p Policy) scaled(env Environment) Policy {
	if env != Sandbox || p.SandboxScale <= 1 {
		return p
	}
	scale := func(d *time.Duration) { *d = max(*d/time.Duration(p.SandboxScale), time.Second) }
	all := func(steps []time.Duration) []time.Duration {
		scaled := make([]time.Duration, len(steps))
		for i, d := range steps {
			scale(&d)
			scaled[i] = d
		}
		return scaled
	}
	for _, d := range []*time.Duration{
		&p.AfterExpiry, &p.GracePeriod, &p.BillingRetryEarly, &p.BillingRetryEarlyFor, &p.BillingRetry,
		&p.BillingRetryFor, &p.ResubscribeEvery, &p.ResubscribeFor, &p.SweepEvery, &p.SweepFor,
	} {
		scale(d)
	}
	p.LapseSteps, p.ResubscribeSteps, p.RevokedSteps = all(p.LapseSteps), all(p.ResubscribeSteps), all(p.RevokedSteps)
	return p
}

func sooner(a, b Check) Check {
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
