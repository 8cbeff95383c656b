package worker

import (
	"math/rand/v2"
	"time"

	"revalidator/internal/iap"
)

// RetryPolicy says when to ask again after an answer that was no use.
type RetryPolicy struct {
	// Base is the wait after the first failure, which doubles with each one
	// more up to Max: 30 s and 6 h.
	Base, Max time.Duration
	// Limit is the number of failures in a row after which a receipt leaves
	// the run that it is in: 5.
	Limit int
	// DoubtLimit is the number of failures in a row after which an answer that
	// accuses a receipt is believed that Apple never accepted: 10, which takes
	// some days of nightly runs, and is longer than most of Apple's own troubles.
	// One that was accepted before is trusted for three times as many.
	DoubtLimit int
	// Random spreads the waits; it returns a number from 0 up to 1.
	Random func() float64
}

// How long a receipt rests that Apple will not answer better soon.
const (
	retryDailyAfter = 24 * time.Hour
	doubtAfter      = 7 * 24 * time.Hour
	limitAfter      = 5 * time.Second
)

// How long a receipt rests after a reply that tells nothing new, at first and at
// most: Apple's replicas catch up within minutes, and what they do not show after a
// day may not come back.
const (
	staleBase = 15 * time.Minute
	staleMax  = 24 * time.Hour
)

const (
	// trustFactor is how much longer a receipt is trusted that Apple has
	// accepted before: its bytes are the same ones, so that the trouble is more
	// likely Apple's, as in February 2023, when good receipts got 21002 for days
	// (bizz84/SwiftyStoreKit#687 and #688).
	trustFactor = 3
	// poisonLimit is how often in a row the program may stumble over a receipt.
	poisonLimit = 3
)

// patience is how often in a row Apple must accuse a receipt of a state until it
// is believed.
func (p RetryPolicy) patience(state iap.ReceiptState) int {
	if state == iap.ReceiptValid {
		return trustFactor * p.DoubtLimit
	}
	return p.DoubtLimit
}

// confirmAfter are the waits before something final is believed.
var confirmAfter = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour}

func (p *RetryPolicy) fill() {
	setDefault(&p.Base, 30*time.Second)
	setDefault(&p.Max, 6*time.Hour)
	setDefault(&p.Limit, 5)
	setDefault(&p.DoubtLimit, 10)
	if p.Random == nil {
		p.Random = rand.Float64
	}
}

// backoff is the wait after so many failures in a row, with a quarter of jitter
// to either side.
func (p RetryPolicy) backoff(failures int) time.Duration {
	return p.doubled(p.Base, p.Max, failures)
}

// staleBackoff is the wait after so many replies in a row that told nothing new.
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
