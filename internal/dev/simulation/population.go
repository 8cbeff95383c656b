package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// product is what is sold.
type product struct {
	name         string
	months, days int
	// share is of first subscriptions, of the live and the dead alike.
	share              float64
	rates              rates
	upgrade, downgrade *product
}

// end is when a period that starts at from expires, by the calendar.
func (p *product) end(from moment) moment {
	return origin.Add(from).AddDate(0, p.months, p.days).Sub(origin)
}

// rates are how likely each thing is in one period. They are assumptions, in
// the range of what subscription apps report; the ratio of policies depends on
// them, which is why other populations can be simulated.
type rates struct {
	// trial is of first periods; trialOff and off turn renewal off, failed is
	// of payments.
	trial, trialOff, off, failed      float64
	refund, upgrade, downgrade, price float64
}

// products are a weekly, a monthly and a yearly subscription of one group.
func products() []*product {
	weekly := &product{name: "weekly", days: 7, share: 0.07, rates: rates{trial: 0.3, trialOff: 0.6, off: 0.12, failed: 0.02, refund: 0.004, upgrade: 0.005}}
	monthly := &product{name: "monthly", months: 1, share: 0.55, rates: rates{trial: 0.4, trialOff: 0.5, off: 0.07, failed: 0.03, refund: 0.006, upgrade: 0.01, downgrade: 0.002, price: 0.01}}
	yearly := &product{name: "yearly", months: 12, share: 0.38, rates: rates{trial: 0.5, trialOff: 0.5, off: 0.35, failed: 0.06, refund: 0.025, downgrade: 0.02, price: 0.05}}
	weekly.upgrade, monthly.upgrade, monthly.downgrade, yearly.downgrade = monthly, yearly, weekly, monthly
	return []*product{weekly, monthly, yearly}
}

var catalog = products()

// drawProduct draws by share.
func drawProduct(random *rand.Rand) *product {
	draw := random.Float64()
	for _, p := range catalog {
		if draw -= p.share; draw < 0 {
			return p
		}
	}
	return catalog[len(catalog)-1]
}

// Leads is how long before expiry a renewal shows.
type Leads string

// The distributions of leads.
const (
	// LeadsMixed has most renewals at any time of the last 24 hours, within
	// which Apple begins to try, a quarter in the last hour, and a few late.
	LeadsMixed Leads = "mixed"
	// LeadsEarly has all of them at any time of the last 24 hours.
	LeadsEarly Leads = "early"
	// LeadsLast has all of them in the last hour.
	LeadsLast Leads = "last-hour"
)

// Validate reports a value that is none of the distributions.
func (l Leads) Validate() error {
	switch l {
	case LeadsMixed, LeadsEarly, LeadsLast:
		return nil
	}
	return fmt.Errorf("leads %q: want %s, %s or %s", string(l), LeadsMixed, LeadsEarly, LeadsLast)
}

// draw is a lead; a negative one is a renewal that shows after expiry.
func (l Leads) draw(random *rand.Rand) time.Duration {
	within := func(d time.Duration) time.Duration { return time.Duration(random.Float64() * float64(d)) }
	draw := random.Float64()
	switch {
	case l == LeadsEarly:
		return within(24 * time.Hour)
	case l == LeadsLast || draw > 0.75:
		return within(time.Hour)
	case draw < 0.03:
		return -within(6 * time.Hour)
	}
	return within(24 * time.Hour)
}

// Population is who is in the database at moment 0. Shares add up to 1; the
// rest of them subscribes for the first time in the days that count.
type Population struct {
	Name string
	// Live is the share with a subscription that has not ended, Dead of those
	// that ended before.
	Live, Dead float64
	// Since is how long ago the first of them subscribed.
	Since time.Duration
}

// Populations are the two that are compared.
func Populations() []Population {
	return []Population{
		{Name: "mostly live", Live: 0.8, Dead: 0.1, Since: 2 * 365 * day},
		{Name: "long dead tail", Live: 0.22, Dead: 0.72, Since: 7 * 365 * day},
	}
}

// draw is the life of one member of the population.
func (p Population) draw(random *rand.Rand, leads Leads, horizon moment) *history {
	class := random.Float64()
	first := drawProduct(random)
	for {
		l := &life{history: &history{}, random: random, leads: leads}
		if random.Float64() < 0.5 {
			l.grace = 16 * day
		}
		born := -time.Duration(random.Float64() * float64(p.Since))
		if class >= p.Live+p.Dead {
			born = time.Duration(random.Float64() * float64(horizon-aftermath))
		}
		l.live(first, born, horizon)
		if born >= 0 || l.liveAt(0) == (class < p.Live) {
			return l.history
		}
	}
}

// liveAt reports whether the subscription has not ended at a moment.
func (h *history) liveAt(at moment) bool {
	switch h.phases[h.phaseAt(at, 0)].status {
	case "expired", "revoked":
		return false
	}
	return true
}
