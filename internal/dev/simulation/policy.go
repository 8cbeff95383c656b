package simulation

import (
	"time"

	"revalidator/internal/iap"
)

// Policy is a way to choose when to look.
type Policy struct {
	Name, Text string
	// Every is the time between two runs.
	Every time.Duration
	// next is when the receipt is due again after a look, and why; never where
	// it is not.
	next func(l *look) (due moment, why string)
}

// look is one look at a receipt.
type look struct {
	history *history
	id      int64
	at      moment
	phase   int

	known      iap.Conclusion
	knownPhase int
}

// subscription is what the look shows, derived once for each phase, in which
// all answers are alike.
func (l *look) conclusion() iap.Conclusion {
	if l.knownPhase != l.phase {
		l.known, l.knownPhase = iap.Derive(l.history.facts(l.phase, l.at)), l.phase
	}
	return l.known
}

// EveryNight asks about everything every night.
func EveryNight() *Policy {
	return &Policy{Name: "a", Text: "everything every night", Every: day, next: func(l *look) (moment, string) {
		return l.at, "everything"
	}}
}

// AutoRenewing asks every night about what is set to renew and expires between
// 60 days ago and 13 hours ahead, as the best public job does.
func AutoRenewing() *Policy {
	return &Policy{Name: "b", Text: "auto-renewing, expiry from -60 d to +13 h, nightly", Every: day, next: func(l *look) (moment, string) {
		s := l.conclusion().Subscriptions[0]
		expires := s.ExpiresDate.Sub(origin)
		if s.AutoRenewStatus == nil || !*s.AutoRenewStatus || l.at > expires+60*day {
			return never, ""
		}
		return max(l.at, expires-13*time.Hour), string(s.Status)
	}}
}

// Planned asks as Plan says with a policy, at runs as far apart as the policy
// has them.
func Planned(name, text string, p iap.Policy) *Policy {
	return &Policy{Name: name, Text: text, Every: p.RunEvery, next: func(l *look) (moment, string) {
		return plan(p, l)
	}}
}

func plan(p iap.Policy, l *look) (moment, string) {
	check := p.Plan(l.conclusion(), origin.Add(l.at), l.id)
	if check.At.IsZero() {
		return never, string(check.Rule)
	}
	return check.At.Sub(origin), string(check.Rule)
}

// visit is one look that a policy took, and why, and when the receipt is due after
// it; never where it is not.
type visit struct {
	at    moment
	phase int
	why   string
	due   moment
}

// play appends the looks that a policy takes at a history. The first is when the
// receipt comes in, or some time before the days that count. A run takes a 24th
// of the time between two, and asks about each receipt somewhere in it.
func (p *Policy) play(h *history, id int64, until moment, visits []visit) []visit {
	return p.playFrom(max(h.born, -warmUp+30*day/1024*fraction(uint64(id))), h, id, until, visits)
}

func (p *Policy) playFrom(first moment, h *history, id int64, until moment, visits []visit) []visit {
	l := look{history: h, id: id, at: first, knownPhase: -1}
	l.phase = h.phaseAt(l.at, 0)
	for why := "new"; ; {
		visits = append(visits, visit{at: l.at, phase: l.phase, why: why})
		due, rule := p.next(&l)
		visits[len(visits)-1].due = due
		if due == never {
			return visits
		}
		slot := p.slot(max(due, l.at+1))
		if slot >= until {
			return visits
		}
		why = rule
		l.at = slot + p.Every/24/1024*fraction(uint64(id)^uint64(slot))
		l.phase = h.phaseAt(l.at, l.phase)
	}
}

// slot is the first run that a receipt due at a moment belongs to. Nights begin
// at 2:00.
func (p *Policy) slot(due moment) moment {
	start := 2 * time.Hour % p.Every
	slot := start + (due-start)/p.Every*p.Every
	for slot < due {
		slot += p.Every
	}
	return slot
}

// fraction is a number below 1024 that looks random.
func fraction(x uint64) time.Duration {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return time.Duration((x ^ x>>31) >> 54)
}
