package worker

import (
	"math/rand/v2"
	"time"
)

// RetryPolicy says when to ask again after an answer that was no use.
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
// one is given back for a limit of which the end is not known.
const (
	aDay       = 24 * time.Hour
	week       = 7 * aDay
	limitAfter = 5 * time.Second
)

func (p *RetryPolicy) fill() {
	setDefault(&p.Base, 30*time.Second)
	setDefault(&p.Max, 6*time.Hour)
	setDefault(&p.Limit, 5)
	if p.Random == nil {
		p.Random = rand.Float64
	}
}

// backoff is the wait after so many failures in a row, with a quarter of jitter
// to either side.
func (p RetryPolicy) backoff(failures int) time.Duration {
	wait := p.Max
	// Asked this way around, because Base doubled 30 times overflows.
	if doublings := max(failures-1, 0); p.Base <= p.Max>>doublings {
		wait = p.Base << doublings
	}
	return time.Duration(float64(wait) * (0.75 + p.Random()/2))
}
