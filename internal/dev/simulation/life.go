package simulation

import (
	"math"
	"math/rand/v2"
	"time"

	"revalidator/internal/iap"
)

// life writes the history of one subscription, period by period.
type life struct {
	*history
	random *rand.Rand
	leads  Leads
	// grace is the app's billing grace period, 0 where it has none.
	grace time.Duration
	over  bool
}

func (l *life) chance(p float64) bool { return l.random.Float64() < p }

func (l *life) between(from, to moment) moment {
	return from + moment(l.random.Float64()*float64(to-from))
}

// around is a wait with the mean, most of them shorter.
func (l *life) around(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * -math.Log(1-l.random.Float64()))
}

// live plays periods until the subscription ends for good or the horizon is
// reached.
func (l *life) live(p *product, born, horizon moment) {
	l.born = born
	first := period{product: p, bought: born, visible: born, expires: p.end(born)}
	if l.chance(p.rates.trial) {
		first.trial, first.expires = true, born+7*day
	}
	l.start(first)
	for !l.over && l.newest().visible < horizon {
		l.play(*l.newest())
	}
}

func (l *life) newest() *period { return &l.periods[len(l.periods)-1] }

// start begins a period.
func (l *life) start(p period) {
	l.periods = append(l.periods, p)
	l.enter(l.now(p.visible, iap.StatusActive))
}

// now is a phase of the newest period.
func (l *life) now(from moment, status iap.Status) phase {
	return phase{from: from, period: len(l.periods) - 1, status: status, renews: true}
}

// play lives the newest period, and starts the next where there is one.
func (l *life) play(p period) {
	r := p.product.rates
	off, failed := r.off, r.failed
	if p.trial {
		off, failed = r.trialOff, 2*r.failed
	}
	stays := true
	switch {
	case !p.trial && l.chance(r.refund):
		stays = l.refund(p)
	case p.product.upgrade != nil && l.chance(r.upgrade):
		stays = l.upgrade(p)
	case l.chance(off):
		stays = l.turnOff(p)
	case l.chance(r.price):
		stays = l.raisePrice(p)
	}
	switch {
	case !stays:
	case l.chance(failed):
		l.failPayment(p)
	default:
		l.renew(p)
	}
}

// renew starts the period that follows, which shows some time before expiry,
// and now and then some hours after it.
func (l *life) renew(p period) {
	lead := min(l.leads.draw(l.random), (p.expires-p.bought)/10)
	next := period{product: p.product, bought: p.expires, visible: max(p.expires-lead, l.phases[len(l.phases)-1].from+time.Minute)}
	if p.product.downgrade != nil && l.chance(p.product.rates.downgrade) {
		next.product = p.product.downgrade
	}
	next.expires = next.product.end(next.bought)
	if next.visible > p.expires {
		// Apple is late, and gives no reason for the expiry.
		l.enter(l.now(p.expires, iap.StatusExpired))
	}
	l.start(next)
	l.happen(Renewal, p.expires)
	if next.product != p.product {
		l.happen(PlanChange, p.expires)
	}
}

// turnOff has the customer turn renewal off, and perhaps on again, or back in
// after a while. It reports whether the period renews all the same.
func (l *life) turnOff(p period) bool {
	off := l.between(p.visible, p.expires)
	if l.chance(0.3) { // at once, so as not to forget
		off = l.between(p.visible, p.visible+(p.expires-p.visible)/20)
	}
	ph := l.now(off, iap.StatusActive)
	ph.renews = false
	l.enter(ph)
	l.happen(RenewalOff, off)
	if on := l.between(off, p.expires-day); on > off && l.chance(0.15) {
		l.enter(l.now(on, iap.StatusActive))
		l.happen(RenewalOn, on)
		return true
	}
	l.end(p.expires, iap.IntentCustomerCancelled)
	return false
}

// end expires the subscription, and perhaps lets the customer come back.
func (l *life) end(at moment, intent iap.ExpirationIntent) {
	ph := l.now(at, iap.StatusExpired)
	ph.renews, ph.intent = false, intent
	l.enter(ph)
	l.happen(Lapse, at)
	l.comeBack(at, 0.3)
}

// comeBack has a share of the customers subscribe again, half of those within
// ten days, a few after years.
func (l *life) comeBack(ended moment, share float64) {
	if !l.chance(share) {
		l.over = true
		return
	}
	mean := 3 * day
	switch draw := l.random.Float64(); {
	case draw > 0.9:
		mean = 300 * day
	case draw > 0.6:
		mean = 60 * day
	case draw > 0.3:
		mean = 15 * day
	}
	at := ended + time.Hour + l.around(mean)
	p := l.newest().product
	if l.chance(0.2) {
		p = drawProduct(l.random)
	}
	l.start(period{product: p, bought: at, visible: at, expires: p.end(at)})
	if at-ended > 365*day {
		l.happen(LateReturn, at)
		return
	}
	l.happen(Resubscribe, at)
}

// failPayment is a payment that fails, and in half of the cases is made up for
// within 60 days, mostly soon.
func (l *life) failPayment(p period) {
	grace := min(l.grace, p.expires-p.bought-day)
	if p.trial {
		grace = 0 // the app has it for paid renewals only
	}
	if grace > 0 {
		ph := l.now(p.expires, iap.StatusGracePeriod)
		ph.retry, ph.graceEnds = true, p.expires+grace
		l.enter(ph)
		l.happen(GracePeriod, p.expires)
	}
	recovers := l.chance(0.5)
	ends := p.expires + 60*day
	if recovers {
		ends = p.expires + l.recovery()
	} else if l.chance(0.3) { // turns renewal off, which ends the tries
		ends = l.between(p.expires, ends)
	}
	if ends > p.expires+grace {
		ph := l.now(p.expires+grace, iap.StatusBillingRetry)
		ph.retry = true
		l.enter(ph)
		l.happen(BillingRetry, ph.from)
	}
	if !recovers {
		l.end(ends, iap.IntentBillingError)
		return
	}
	next := period{product: p.product, bought: ends, visible: ends}
	if ends < p.expires+grace {
		next.bought = p.expires
	}
	next.expires = next.product.end(next.bought)
	l.start(next)
	l.happen(Recovery, ends)
}

// recovery is how long after expiry a payment is made up for: Apple tries less
// often as time goes by.
func (l *life) recovery() time.Duration {
	for {
		mean := day
		switch draw := l.random.Float64(); {
		case draw > 0.85:
			mean = 20 * day
		case draw > 0.4:
			mean = 5 * day
		}
		if after := 10*time.Minute + l.around(mean); after < 60*day {
			return after
		}
	}
}

// refund is a refund of the period, which ends it unless it is reversed. It
// reports whether the period goes on to renew.
func (l *life) refund(p period) bool {
	mean := 4 * day
	switch draw := l.random.Float64(); {
	case draw > 0.9:
		mean = 60 * day
	case draw > 0.6:
		mean = 20 * day
	}
	at := p.bought + time.Hour + l.around(mean)
	if at >= p.expires-2*day || at <= p.visible {
		return true // too late: a later period shows
	}
	ph := l.now(at, iap.StatusRevoked)
	ph.renews, ph.revokedAt = false, at
	l.enter(ph)
	kind := Refund
	if p.product.months > 1 {
		kind = LongRefund
	}
	l.happen(kind, at)
	if back := at + time.Hour + l.around(5*day); back < p.expires-day && l.chance(0.05) {
		l.enter(l.now(back, iap.StatusActive))
		l.happen(RefundReversed, back)
		return true
	}
	l.comeBack(at, 0.1)
	return false
}

// upgrade moves the customer to a longer product at once.
func (l *life) upgrade(p period) bool {
	at := l.between(p.visible, p.expires-day)
	if at <= p.visible {
		return true
	}
	next := period{product: p.product.upgrade, bought: at, visible: at, expires: p.product.upgrade.end(at)}
	l.start(next)
	l.happen(PlanChange, at)
	return false
}

// raisePrice asks for consent to a higher price in the last four weeks of a
// period. It reports whether the customer gives it.
func (l *life) raisePrice(p period) bool {
	asked := max(p.visible+time.Hour, p.expires-27*day)
	ph := l.now(asked, iap.StatusActive)
	ph.consent = "0"
	l.enter(ph)
	l.happen(PriceIncrease, asked)
	if l.chance(0.6) {
		given := l.now(l.between(asked, p.expires-day), iap.StatusActive)
		given.consent = "1"
		l.enter(given)
		return true
	}
	l.end(p.expires, iap.IntentPriceIncrease)
	return false
}
