package iap

import "time"

const day = 24 * time.Hour

// Policy is how often a receipt is checked. Table says it in words. Durations
// are of production; the clocks of the sandbox and of TestFlight run faster.
type Policy struct {
	// RunEvery is the time between two runs, at which alone a due receipt is
	// asked about; 0 is all the time. Looks that are days apart are due half of
	// it early, so that the run nearest to the day has them and not the one
	// after.
	RunEvery time.Duration
	// AfterExpiry is how long after a date Apple is asked what became of it.
	AfterExpiry time.Duration
	// BeforeExpiry is how long before a renewal a run asks about it already,
	// at most three tenths of RunEvery.
	BeforeExpiry time.Duration
	// LapseSteps are the looks, counted from expiry, while an expiry without a
	// reason may still turn into a renewal.
	LapseSteps []time.Duration
	// FailedPayment is the wait between two checks of a failed payment, in the
	// grace period and after it. From BillingRetryLateFrom on after expiry, it
	// is the time since expiry divided by BillingRetryShare.
	FailedPayment, BillingRetryLateFrom time.Duration
	BillingRetryShare                   int
	// BillingRetryFor is how long Apple tries; BillingRetryOverdue is the wait
	// where Apple says that it still tries after that.
	BillingRetryFor, BillingRetryOverdue time.Duration
	// GraceFor is for how long after expiry the app itself leaves a customer
	// whose payment failed the service, 0 where it does not.
	GraceFor time.Duration
	// PriceIncrease is the wait while a price increase waits for consent.
	PriceIncrease time.Duration
	// Undated is the wait where Apple does not date the newest period.
	Undated time.Duration
	// ResubscribeSteps are looks, counted from the end of a subscription, after
	// which one comes every ResubscribeEvery; until ResubscribeFor.
	ResubscribeSteps                 []time.Duration
	ResubscribeEvery, ResubscribeFor time.Duration
	// ReversalFor is how long after a refund its reversal is expected.
	ReversalFor time.Duration
	// SweepEvery is the longest wait between two checks of a long period that
	// was bought less than SweepLateFrom ago, when most refunds come, and at a
	// one-time purchase until PurchaseFor after it. SweepLate is the longest
	// after that, and so the ceiling on how long a live receipt goes unseen.
	SweepEvery, SweepLateFrom, SweepLate, PurchaseFor time.Duration
	// SweepLast is how long before expiry the last sweep of a period is.
	SweepLast time.Duration
	// SandboxScale and TestFlightScale divide every duration.
	SandboxScale, TestFlightScale int
	// Jitter is the share of a wait by which it may be shorter.
	Jitter float64
}

// DefaultPolicy is the policy that the program ships with, for a run each
// night. Apple retries a failed payment for 60 days, and one program that gave
// up after 15 lost renewals (osmandapp/OsmAnd-tools#1729).
// https://developer.apple.com/documentation/storekit/in-app_purchase/reducing_involuntary_subscriber_churn
func DefaultPolicy() Policy {
	return Policy{
		RunEvery:             day,
		AfterExpiry:          10 * time.Minute,
		BeforeExpiry:         7 * time.Hour,
		LapseSteps:           []time.Duration{time.Hour, 4 * time.Hour, 12 * time.Hour, day},
		FailedPayment:        day,
		BillingRetryLateFrom: 24 * day,
		BillingRetryShare:    8,
		BillingRetryFor:      60 * day,
		BillingRetryOverdue:  7 * day,
		PriceIncrease:        7 * day,
		Undated:              7 * day,
		ResubscribeSteps:     days(5, 11, 18, 28, 40, 55, 75, 100, 130, 170, 220, 290),
		ResubscribeEvery:     60 * day,
		ResubscribeFor:       365 * day,
		ReversalFor:          14 * day,
		SweepEvery:           30 * day,
		SweepLateFrom:        60 * day,
		SweepLate:            60 * day,
		// A price increase shows by then, and can still be refused.
		SweepLast:       20 * day,
		PurchaseFor:     90 * day,
		SandboxScale:    24 * 60,
		TestFlightScale: 30,
		Jitter:          0.05,
	}
}

func days(numbers ...int) []time.Duration {
	steps := make([]time.Duration, len(numbers))
	for i, n := range numbers {
		steps[i] = time.Duration(n) * day
	}
	return steps
}

// Ceiling is the longest time between two checks of a receipt that has a next
// check. For one with a live subscription it is LiveCeiling.
func (p Policy) Ceiling() time.Duration {
	longest := max(p.LiveCeiling(), p.ResubscribeEvery, p.BillingRetryOverdue)
	var last time.Duration
	for _, step := range p.ResubscribeSteps {
		longest, last = max(longest, step-last), step
	}
	return longest
}

// LiveCeiling is the longest time that a receipt with a live subscription is not
// checked.
func (p Policy) LiveCeiling() time.Duration {
	return max(p.sweepFrom(), p.SweepLate) + 2*p.AfterExpiry
}

// sweepFrom is for how long a period must have to go to be swept: somewhat more
// than SweepEvery, so that a month of 31 days needs no sweep of its own.
func (p Policy) sweepFrom() time.Duration { return p.SweepEvery + p.SweepEvery/10 }

// WithSweep is the policy with another wait between two sweeps, of late ones and
// of early ones.
func (p Policy) WithSweep(every time.Duration) Policy {
	p.SweepEvery, p.SweepLate = every, every
	return p
}

// scaled is the policy for a subscription's clock. A period of the sandbox
// takes minutes or hours in place of a week to a year; one of TestFlight, which
// has the sandbox's environment, takes a day.
// https://developer.apple.com/help/app-store-connect/test-a-beta-version/testing-subscriptions-and-in-app-purchases-in-testflight/
func (p Policy) scaled(env Environment, period time.Duration) Policy {
	divisor := time.Duration(p.SandboxScale)
	if period > 12*time.Hour {
		divisor = time.Duration(p.TestFlightScale)
	}
	if env != Sandbox || divisor <= 1 {
		return p
	}
	scale := func(d time.Duration) time.Duration {
		if d == 0 {
			return 0
		}
		return max(d/divisor, time.Second)
	}
	for _, d := range []*time.Duration{
		&p.AfterExpiry, &p.BeforeExpiry, &p.FailedPayment, &p.BillingRetryLateFrom, &p.BillingRetryFor, &p.BillingRetryOverdue,
		&p.GraceFor, &p.PriceIncrease, &p.Undated, &p.ResubscribeEvery, &p.ResubscribeFor, &p.ReversalFor,
		&p.SweepEvery, &p.SweepLateFrom, &p.SweepLate, &p.PurchaseFor, &p.SweepLast,
	} {
		*d = scale(*d)
	}
	for _, steps := range []*[]time.Duration{&p.LapseSteps, &p.ResubscribeSteps} {
		scaled := make([]time.Duration, len(*steps))
		for i, d := range *steps {
			scaled[i] = scale(d)
		}
		*steps = scaled
	}
	return p
}
