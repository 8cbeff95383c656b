package simulation

import (
	"math"
	"sort"
	"time"

	"revalidator/internal/iap"
)

// Hazards is how often a subscription in a state changes, by how long it has
// been in it, as an app can learn it from its own events.
type Hazards map[iap.Status][]hazard

// hazard is what was seen of one range of ages.
type hazard struct{ days, changes float64 }

// ages are where the ranges end, in days; the last has no end.
var ages = []float64{1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100, 150, 250}

// stateOf is the state and since when a subscription has been in it. The grace
// period is the start of billing retry, and people come back alike from both
// kinds of endings.
func stateOf(s iap.Subscription) (iap.Status, time.Time) {
	switch s.Status {
	case iap.StatusActive:
		return s.Status, s.PurchaseDate
	case iap.StatusGracePeriod, iap.StatusBillingRetry:
		return iap.StatusBillingRetry, s.ExpiresDate
	case iap.StatusRevoked:
		return iap.StatusExpired, s.RevocationDate
	}
	return iap.StatusExpired, s.ExpiresDate
}

// at is the hazard of an age; adjust changes it in place.
func (h Hazards) at(state iap.Status, age time.Duration) *hazard {
	if h[state] == nil {
		h[state] = make([]hazard, len(ages)+1)
	}
	return &h[state][sort.SearchFloat64s(ages, age.Hours()/24)]
}

// perDay is the share that changes in a day; a little is assumed of what was
// hardly ever seen.
func (z *hazard) perDay() float64 { return (z.changes + 0.5) / (z.days + 500) }

// Learn lives lives of another seed, has a policy look at them, and takes from
// what it found how likely the changes are that come at no set time.
func Learn(c Config, p *Policy) Hazards {
	c.Seed++
	learned := Hazards{}
	end := time.Duration(c.Days) * day
	var visits []visit
	var found []int
	for id := range int64(c.Subscriptions) {
		h := c.life(id, end)
		visits = p.play(h, id, end, visits[:0])
		found = h.foundBy(visits, found[:0])
		learned.learn(h, visits, found)
	}
	return learned
}

// learn spreads what was found after a wait over its days, because nobody knows
// on which of them it happened.
func (h Hazards) learn(history *history, visits []visit, found []int) {
	changed := map[int]float64{}
	for n, c := range history.changes {
		switch c.kind {
		case Recovery, Resubscribe, LateReturn, Refund, LongRefund, PlanChange:
			changed[found[n]]++
		}
	}
	for i := 1; i < len(visits); i++ {
		before := visits[i-1]
		state, since := stateOf(history.conclusion(before.phase, before.at).Subscriptions[0])
		wait := visits[i].at - before.at
		share := min(float64(wait)/float64(day), 1)
		for passed := time.Duration(0); passed < wait; passed += day {
			z := h.at(state, before.at-since.Sub(origin)+passed)
			z.days += share
			z.changes += changed[i] * min(float64(day)/float64(wait), 1)
		}
	}
}

// Learned is a policy with the same looks at set times, which spends its other
// calls where change is likeliest: the wait that makes the most of each call is
// in inverse proportion to the root of the hazard.
func Learned(name string, p iap.Policy, h Hazards, scale float64) *Policy {
	return &Policy{Name: name, Every: p.RunEvery, next: func(l *look) (moment, string) {
		state, wait := h.wait(l, scale)
		adapted := p
		adapted.FailedPayment, adapted.BillingRetryLateFrom = wait, math.MaxInt64
		adapted.ResubscribeSteps, adapted.ResubscribeEvery = nil, wait
		adapted.SweepLate = wait
		if state == iap.StatusActive {
			adapted.SweepEvery = max(wait, p.SweepEvery) // a month is left alone
		}
		return plan(adapted, l)
	}}
}

// LearnedReturns is Learned for those who have left alone.
func LearnedReturns(name string, p iap.Policy, h Hazards, scale float64) *Policy {
	return &Policy{Name: name, Every: p.RunEvery, next: func(l *look) (moment, string) {
		adapted := p
		if state, wait := h.wait(l, scale); state == iap.StatusExpired {
			adapted.ResubscribeSteps, adapted.ResubscribeEvery = nil, wait
		}
		return plan(adapted, l)
	}}
}

// wait is the state that a look shows, and the wait that its hazard is worth.
func (h Hazards) wait(l *look, scale float64) (iap.Status, time.Duration) {
	state, since := stateOf(l.conclusion().Subscriptions[0])
	hazard := h.at(state, l.at-since.Sub(origin)).perDay()
	wait := time.Duration(scale / math.Sqrt(hazard) * float64(day))
	return state, min(max(wait, day), 90*day)
}

// Stretched is a policy whose waits for what comes at no set time are longer or
// shorter by a factor.
func Stretched(p iap.Policy, factor float64) iap.Policy {
	for _, d := range []*time.Duration{
		&p.FailedPayment, &p.ResubscribeEvery, &p.SweepEvery, &p.SweepLate,
	} {
		*d = time.Duration(float64(*d) * factor)
	}
	p.ResubscribeSteps = stretchedSteps(p.ResubscribeSteps, factor)
	p.FailedPayment = max(p.FailedPayment, day)
	p.BillingRetryShare = max(int(float64(p.BillingRetryShare)/factor), 1)
	return p
}

// stretchedSteps are steps that are further apart.
func stretchedSteps(steps []time.Duration, factor float64) []time.Duration {
	var stretched []time.Duration
	for _, step := range steps {
		stretched = append(stretched, time.Duration(float64(step)*factor))
	}
	return stretched
}
