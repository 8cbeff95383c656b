package ratelimit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Times in a health are UNIX microseconds of the clock of Redis; 0 is never.
const second = int64(1e6)

const (
	// settle is for how long after a halving of the rate the answers to what was
	// asked before come in: they are no reason for another one.
	settle     = 10 * second
	leastShare = 1.0 / 32
	// creep is by how much the share of a rate grows back in a microsecond.
	creep = 0.05 / float64(60*second)
	// Trouble with so many answers, and a quarter of all, is distress; a few stray
	// ones are not, or a rate would never recover.
	distressCalls = 5

	// The breaker of an app opens when more than half of at least 20 answers are
	// trouble, counted over 10 seconds, or longer where there are fewer.
	window, longestWindow, leastCalls = 10 * second, 300 * second, 20
	// The breaker of all opens when more than half of at least three apps are
	// failing, of those that asked within a minute, by the last that each of them
	// heard without a break of half a minute; with at least so many failures together.
	lately, lastMinute, leastApps, leastTrouble = 30 * second, 60 * second, 3, 5

	firstPause, longestPause = 30 * second, 600 * second
	probesNeeded             = 3
	// majority is how many of the probes of all decide: one app among them may be
	// failing for a cause of its own.
	majority = 2
	// longestBlock is for how long a block is believed.
	longestBlock = 24 * 3600 * second
	// forgetAfter is when nothing is known of an app that does not ask any more.
	forgetAfter = 3600 * second
)

// health is what the answers of one source, in one environment, say of it and of
// those who ask it. Its rules are pure: they are told the time.
type health struct {
	// Parts are by scope: everybody, an app, and an app and a size of request that
	// was refused.
	Parts map[string]*part `json:"parts,omitempty"`

	// rewrite stores it although nothing has changed.
	rewrite bool
}

// part is all apps, an app, or its requests of one size.
type part struct {
	Answers tally  `json:"n"` // for its own breaker and rate
	Lately  recent `json:"l"` // for the breaker of all
	// Last is when it last heard anything.
	Last    int64   `json:"t,omitempty"`
	Breaker breaker `json:"b,omitzero"`
	// Less is by how much its rate was lower than configured at ShareAt.
	Less    float64 `json:"less,omitempty"`
	ShareAt int64   `json:"at,omitempty"`
	// Cut is when its line was last broken up, Blocked until when it may not ask.
	Cut     int64 `json:"cut,omitempty"`
	Blocked int64 `json:"blocked,omitempty"`
}

// tally counts answers since a time, and those of them that were failures.
type tally struct{ From, Calls, Bad int64 }

func (t *tally) add(now, longest, calls, bad int64) {
	age := now - t.From
	if age < 0 || age > longest || age > window && t.Calls >= leastCalls {
		*t = tally{From: now}
	}
	t.Calls += calls
	t.Bad += bad
}

func (t tally) fails() bool { return 2*t.Bad > t.Calls }

// recent is about the last 20 answers, and how many of them were failures: of those
// before, the more are forgotten the longer ago they were.
type recent struct{ Calls, Bad float64 }

func (r *recent) add(calls, bad int64) {
	r.Calls += float64(calls)
	r.Bad += float64(bad)
	if r.Calls > leastCalls {
		r.Calls, r.Bad = leastCalls, r.Bad*leastCalls/r.Calls
	}
}

func (r recent) fails() bool { return 2*r.Bad > r.Calls }

// breaker holds calls back from Opened on: all of them up to Until, and then all
// but a few probes, by which it closes, or pauses again and longer.
type breaker struct {
	Opened, Until int64
	Rounds        int     // how often it paused in a row
	Why           string  // in one word
	Probes        []probe // on their way
	Good, Bad     int     // probes of this round
	// Last are the apps that probed in the round before: others come first.
	Last, Probed []string
}

type probe struct {
	App    string
	ID, At int64
}

func (b *breaker) isOpen() bool { return b.Opened != 0 }

func (b *breaker) open(now int64, why string) {
	pause := min(longestPause, firstPause<<min(b.Rounds, 10))
	*b = breaker{
		Opened: cmp.Or(b.Opened, now), Until: now + pause, Rounds: b.Rounds + 1, Why: why, Last: b.Probed,
	}
}

// room is for how many more probes there is any.
func (b *breaker) room(now int64, patience int64) int {
	b.Probes = slices.DeleteFunc(b.Probes, func(p probe) bool { return now-p.At > patience || now < p.At })
	return probesNeeded - len(b.Probes) - b.Good - b.Bad
}

// admit lets an app send a probe, or says for how long not.
func (b *breaker) admit(now, patience int64, app string, all bool) (id, wait int64) {
	if now < b.Until {
		return 0, b.Until - now
	}
	isOut := slices.ContainsFunc(b.Probes, func(p probe) bool { return p.App == app })
	othersFirst := slices.Contains(b.Last, app) && now < b.Until+settle
	if b.room(now, patience) <= 0 || all && (isOut || othersFirst) {
		return 0, settle
	}
	id = now
	for slices.ContainsFunc(b.Probes, func(p probe) bool { return p.ID >= id }) {
		id++
	}
	b.Probes = append(b.Probes, probe{app, id, now})
	if !slices.Contains(b.Probed, app) {
		b.Probed = append(b.Probed, app)
	}
	return id, 0
}

// judge takes how a probe ended, unless it was one of an earlier round, and
// reports whether the breaker closes.
func (b *breaker) judge(now, id int64, good, bad bool, why string, enough, tooBad int) (closes bool) {
	i := slices.IndexFunc(b.Probes, func(p probe) bool { return p.ID == id })
	if i < 0 {
		return false
	}
	b.Probes = slices.Delete(b.Probes, i, i+1) // of one that says nothing another is sent
	switch {
	case bad:
		if b.Bad++; b.Bad >= tooBad {
			b.open(now, why)
		}
	case good:
		b.Good++
	}
	return b.Good >= enough
}

// share is the part of the configured rate that is in force.
func (p *part) share(now int64) float64 {
	return min(1, 1-p.Less+creep*float64(max(0, now-p.ShareAt)))
}

func (p *part) open(now int64, why string) {
	p.Breaker.open(now, why)
	p.Answers, p.Cut = tally{}, now
}

func (p *part) setShare(now int64, share float64) { p.Less, p.ShareAt = 1-share, now }

// halve reports whether the rate went down, and not only stays at its least.
func (p *part) halve(now int64) bool {
	if p.ShareAt != 0 && now-p.ShareAt < settle {
		return false
	}
	before := p.share(now)
	p.setShare(now, max(leastShare, before/2))
	p.Cut = now
	return p.share(now) < before
}

// answer is what was heard of one call, and of good ones before it.
type answer struct {
	budget budget
	good   map[budget]int64 // that nothing was told of yet
	signal Signal
	why    string
	slot   Slot
}

// take judges by an answer.
func (h *health) take(now int64, a answer) (v Verdict) {
	for b, n := range a.good {
		h.count(now, b, n, 0)
	}
	scope := a.budget.app
	if a.signal == Oversized {
		scope = a.budget.sized()
	}
	if a.slot.IsProbe() {
		v = h.takeProbe(now, a)
	}
	// A probe of its size is an ordinary call of its app.
	if !v.Closed && (!a.slot.IsProbe() || isSized(a.slot.of) && a.signal != Oversized) {
		v = h.takeOrdinary(now, a, scope)
	}
	if a.signal == Limited {
		v.Halved = h.part(scope).halve(now)
	}
	for _, name := range []string{scope, everybody} {
		if b := h.breaker(name); b.isOpen() {
			v.Open, v.Everybody, v.Since = true, name == everybody, when(b.Opened)
			v.RetryAfter = micros(max(settle, b.Until-now))
		}
	}
	return v
}

func (h *health) takeProbe(now int64, a answer) Verdict {
	b, all := h.breaker(a.slot.of), a.slot.of == everybody
	enough, tooBad, bad := probesNeeded, 1, a.signal.isTrouble()
	if all {
		enough, tooBad = majority, majority
	}
	if isSized(a.slot.of) {
		bad = a.signal == Oversized
	}
	since := when(b.Opened)
	if !b.judge(now, a.slot.probe, a.signal == Answered, bad, a.why, enough, tooBad) {
		return Verdict{}
	}
	*b = breaker{}
	for name, p := range h.Parts {
		if all && isApp(name) || name == a.slot.of && !all {
			p.setShare(now, min(p.share(now), 0.5))
		}
	}
	return Verdict{Closed: true, Since: since, Everybody: all}
}

// takeOrdinary judges by an answer to an ordinary call. Answers to what was asked
// before a breaker opened say nothing while it is open.
func (h *health) takeOrdinary(now int64, a answer, scope string) (v Verdict) {
	p, bad := h.part(scope), a.signal.isTrouble() || a.signal == Oversized
	switch {
	case h.breaker(everybody).isOpen() || p.Breaker.isOpen():
		return v
	case a.signal == Answered:
		h.count(now, a.budget, 1, 0)
	case bad:
		h.countPart(now, p, 1, 1)
	}
	n := p.Answers
	if a.signal == Distress && n.Bad >= distressCalls && 4*n.Bad >= n.Calls {
		v.Halved = p.halve(now)
	}
	switch {
	case a.signal.isTrouble() && h.isOutage(now):
		// It is nobody's own failure.
		for name, p := range h.Parts {
			if isApp(name) {
				p.Breaker, p.Answers, p.Lately = breaker{}, tally{}, recent{}
			}
		}
		h.part(everybody).open(now, a.why)
		v.Opened = true
	case bad && n.Calls >= leastCalls && n.fails():
		p.open(now, a.why)
		v.Opened = true
	}
	return v
}

// count counts answers of an app, and of a size that is watched.
func (h *health) count(now int64, b budget, calls, bad int64) {
	h.countPart(now, h.part(b.app), calls, bad)
	if p := h.Parts[b.sized()]; b.size != "" && p != nil {
		h.countPart(now, p, calls, bad)
	}
}

func (h *health) countPart(now int64, p *part, calls, bad int64) {
	if h.breaker(everybody).isOpen() || p.Breaker.isOpen() {
		return
	}
	p.Answers.add(now, longestWindow, calls, bad)
	if now-p.Last > lately {
		p.Lately = recent{}
	}
	p.Lately.add(calls, bad)
	p.Last = now
}

// isOutage is whether the source fails for most of those who ask it, so that it
// is not their own failure.
func (h *health) isOutage(now int64) bool {
	asking, failing, trouble := 0, 0, 0.0
	for name, p := range h.Parts {
		if !isApp(name) || now-p.Last > lastMinute && !p.Breaker.isOpen() {
			continue
		}
		asking++
		if p.Breaker.isOpen() || p.Lately.fails() {
			failing++
		}
		trouble += p.Lately.Bad
	}
	return asking >= leastApps && 2*failing > asking && trouble >= leastTrouble
}

// admit lets a budget send a probe of the breaker that holds it back. id is 0
// where it may not for some time, and of is empty where no breaker is open.
func (h *health) admit(now, patience int64, b budget) (id int64, of string, wait int64) {
	for _, scope := range b.scopes() {
		if breaker := h.breaker(scope); breaker.isOpen() {
			of = cmp.Or(of, scope) // one after the other: that of all is the first to close
			wait = max(wait, breaker.Until-now)
		}
	}
	if of == "" || wait > 0 {
		return 0, "", wait
	}
	id, wait = h.breaker(of).admit(now, patience, b.app, of == everybody)
	return id, of, wait
}

// breaker is that of a scope, to be looked at: it is not kept where there is none.
func (h *health) breaker(scope string) *breaker {
	if p := h.Parts[scope]; p != nil {
		return &p.Breaker
	}
	return new(breaker)
}

func (h *health) part(name string) *part {
	if h.Parts == nil {
		h.Parts = make(map[string]*part)
	}
	if h.Parts[name] == nil {
		h.Parts[name] = new(part)
	}
	return h.Parts[name]
}

// block keeps an app from asking for a while; a shorter block never ends a longer
// one.
func (h *health) block(now, d int64, app string) {
	if d > 0 {
		p := h.part(app)
		p.Blocked, p.Last = max(p.Blocked, now+min(d, longestBlock)), now
	}
}

// correct takes back what cannot be: the clock of Redis was set back, or somebody
// else wrote it. It also forgets those who do not ask any more.
func (h *health) correct(now int64) {
	for name, p := range h.Parts {
		if p == nil {
			delete(h.Parts, name)
			continue
		}
		b := &p.Breaker
		b.Opened, b.Until = min(b.Opened, now), min(b.Until, now+longestPause)
		p.Last, p.ShareAt, p.Cut = min(p.Last, now), min(p.ShareAt, now), min(p.Cut, now)
		p.Blocked, p.Less = min(p.Blocked, now+longestBlock), min(max(p.Less, 0), 1-leastShare)
		if now-max(p.Last, p.ShareAt, p.Cut, p.Blocked) > forgetAfter && !p.Breaker.isOpen() {
			delete(h.Parts, name)
		}
	}
}

// limits are the fields that book.lua reads, in pairs: those of whom nothing is
// limited have none.
func (h *health) limits() []any {
	var fields []any
	for name, p := range h.Parts {
		if p.Breaker.isOpen() || p.Blocked != 0 || p.Cut != 0 || p.Less > 0 {
			share := int64(math.Round((1 - p.Less) * 1e6))
			fields = append(fields, name, fmt.Sprintf("%d %d %d %d %d", p.Breaker.Until, p.Blocked, p.Cut, share, p.ShareAt))
		}
	}
	return fields
}

// states are those of whom not all is as configured.
func (h *health) states(of string, now, patience int64) (all []State) {
	for name, p := range h.Parts {
		app, size, _ := strings.Cut(name, "/")
		s := State{Key: budget{app, of, size}.String(), Share: p.share(now), Open: p.Breaker.isOpen(), Held: p.Blocked > now}
		if name == everybody {
			s.Key = budget{of: of}.String()
		}
		if s.Held {
			s.BlockedUntil = when(p.Blocked)
		}
		if b := &p.Breaker; s.Open {
			s.Since, s.Until, s.Why = when(b.Opened), when(b.Until), b.Why
			s.Held = s.Held || now < b.Until || b.room(now, patience) <= 0
		}
		if s.Open || s.Held || s.Share < 1 {
			all = append(all, s)
		}
	}
	return all
}
