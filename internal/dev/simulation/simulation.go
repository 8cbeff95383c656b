// Package simulation compares policies of when to look at a receipt: it lives
// the lives of many made-up subscriptions, lets each policy look at the same
// lives, and counts what it finds, how late, and with how many calls. What a
// look shows goes through iap.Derive, and our policy is iap.Plan itself. It
// leaves HTTP, queues and the database out, and printing to cmd/simulate.
package simulation

import (
	"math/rand/v2"
	"time"

	"revalidator/internal/iap"
)

const day = 24 * time.Hour

// moment is a time since the start of the days that count.
type moment = time.Duration

// origin is the moment 0: a midnight, in UTC.
var origin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Config is what to simulate.
type Config struct {
	Population Population
	// Subscriptions is how many lives there are, Days for how long changes and
	// calls are counted.
	Subscriptions, Days int
	// Seed makes the same lives each time.
	Seed uint64
	// Leads is how long before expiry renewals show.
	Leads    Leads
	Policies []*Policy
	// Against is the index of the policy that those after it are held against.
	Against int
}

const (
	// warmUp is for how long policies look before calls and changes count, so
	// that the first days are like the others.
	warmUp = 70 * day
	// aftermath is for how long they look afterwards, so that the changes of
	// the last days can be found as well: longer than any wait.
	aftermath = 80 * day
)

// Outcome is what came of a simulation.
type Outcome struct {
	Census  Census
	Results []*Result
}

// Run lives each life and has each policy look at it. It holds one life at a
// time.
func Run(c Config) Outcome {
	o := Outcome{Census: Census{Status: map[iap.Status]int{}, Product: map[string]int{}}}
	for i, p := range c.Policies {
		o.Results = append(o.Results, newResult(p))
		if i > c.Against {
			o.Results[i].against = o.Results[c.Against]
		}
	}
	end := time.Duration(c.Days) * day
	nightly := EveryNight()
	var visits []visit
	var found []int
	var counts []bool
	for id := range int64(c.Subscriptions) {
		h := c.life(id, end+aftermath)
		o.Census.add(h)
		visits = nightly.play(h, id, end+aftermath, visits[:0])
		found = h.foundBy(visits, found[:0])
		counts = h.counting(found, end, counts[:0])
		for _, r := range o.Results {
			r.watch(h, id, counts, end)
		}
	}
	return o
}

// life is the history of one subscription until the horizon.
func (c Config) life(id int64, horizon moment) *history {
	random := rand.New(rand.NewPCG(c.Seed, uint64(id)))
	return c.Population.draw(random, c.Leads, horizon)
}
