package worker

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// RetryPolicy says when to ask again after a failed response.
type RetryPolicy struct {
	// Base is the wait after the first failure, which doubles with each one
	// more up to Max: 30 s and 6 h.
	Base, Max time.Duration
	// Limit is the number of failures in a row after which a receipt leaves
	// the run that it is in: 5.
	Limit int
	// Random spreads the waits; it returns a number from 0 up to 1.
	Random func() float64
}

// How long a receipt waits of which the answer will not change soon, and how long
// one is released for a limit of which the end is not known.
const (
	aDay       = 24 * time.Hour
	week       = 7 * aDay
	limitAfter = 5 * time.Second
)

// How long a receipt rests after a reply that shows nothing new, at first and at
// most: Apple's replicas catch up within minutes, and what they do not show after a
// day may not come back.
const (
	staleBase = 15 * time.Minute
	staleMax  = 24 * time.Hour
)

func (p *RetryPolicy) fill() {
	p.Base = cmp.Or(p.Base, 30*time.Second)
	p.Max = cmp.Or(p.Max, 6*time.Hour)
	p.Limit = cmp.Or(p.Limit, 5)
	if p.Random == nil {
		p.Random = rand.Float64
	}
}

// backoff is the wait after so many failures in a row, with a quarter of jitter
// to either side.
func (p RetryPolicy) backoff(failures int) time.Duration {
	return p.doubled(p.Base, p.Max, failures)
}

// staleBackoff is the wait after so many replies in a row that showed nothing new.
func (p RetryPolicy) staleBackoff(replies int) time.Duration {
	return p.doubled(staleBase, staleMax, replies)
}

func (p RetryPolicy) doubled(base, most time.Duration, times int) time.Duration {
	wait := most
	// Asked this way around, because what is doubled 30 times overflows.
	if doublings := max(times-1, 0); base <= most>>doublings {
		wait = base << doublings
	}
	return time.Duration(float64(wait) * (0.75 + p.Random()/2))
}
