package ratelimit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

// source is a simulated source that apps ask, by the rules alone.
type source struct {
	health
	now int64
	// calls and held are how many calls each app made and did not make.
	calls, held map[string]int
	opened      []string // the scopes of the breakers that opened
}

func newSource() *source {
	return &source{now: 1e15, calls: make(map[string]int), held: make(map[string]int)}
}

// call has an app ask, unless a breaker holds it back.
func (s *source) call(key string, heard Signal) {
	b := parse(key)
	s.correct(s.now)
	var slot Slot
	for _, scope := range b.scopes() {
		if !s.breaker(scope).isOpen() {
			continue
		}
		id, of, _ := s.admit(s.now, longestPause, b)
		if id == 0 {
			s.held[b.app]++
			return
		}
		slot = Slot{probe: id, of: of}
		break
	}
	s.calls[b.app]++
	v := s.take(s.now, answer{budget: b, signal: heard, why: "timeout", slot: slot})
	if v.Opened {
		scope := b.app
		if v.Everybody {
			scope = everybody
		} else if heard == Oversized {
			scope = b.sized()
		}
		s.opened = append(s.opened, scope)
	}
}

func app(i int) string { return fmt.Sprintf("app%02d/Production", i) }

func (s *source) total() (n int) {
	for _, calls := range s.calls {
		n += calls
	}
	return n
}

// minutes lets so many apps make a call a minute each, spread over the minute.
func (s *source) minutes(minutes, apps int, heard func(app int) Signal) {
	for range minutes {
		for i := range apps {
			s.call(app(i), heard(i))
			s.now += lastMinute / int64(apps)
		}
	}
}

func always(s Signal) func(int) Signal { return func(int) Signal { return s } }

// TestAppsOfFewCallsAreProtected has 50 apps make a call a minute each, too few for
// a breaker of their own.
func TestAppsOfFewCallsAreProtected(t *testing.T) {
	t.Parallel()
	s := newSource()
	s.minutes(10, 50, always(Answered))
	if len(s.opened) > 0 {
		t.Fatalf("opened %v without any trouble", s.opened)
	}
	before := s.total()
	s.minutes(30, 50, always(Distress))
	if !slices.Equal(s.opened, []string{everybody}) {
		t.Errorf("opened %v, want that of all, once", s.opened)
	}
	t.Logf("%d calls in 30 minutes of an outage, of 1500", s.total()-before)
	// Until most of them failed, and probes after pauses of half a minute and more.
	if got := s.total() - before; got > 26+3*7 {
		t.Errorf("%d calls in an outage, want at most 47", got)
	}
	s.minutes(12, 50, always(Answered))
	held := s.held[parse(app(0)).app]
	s.minutes(10, 50, always(Answered))
	if s.breaker(everybody).isOpen() || s.held[parse(app(0)).app] != held {
		t.Error("calls are held back after the outage")
	}
}

// TestAnAppAloneIsHeldBackAlone has one app make 90 % of the calls, all of whose
// receipts fail, among 49 that are fine.
func TestAnAppAloneIsHeldBackAlone(t *testing.T) {
	t.Parallel()
	s := newSource()
	for range 20 {
		for i := 1; i < 50; i++ {
			for range 9 {
				s.call(app(0), Malformed)
			}
			s.call(app(i), Answered)
			s.now += lastMinute / 50
		}
	}
	if !slices.Equal(s.opened, []string{"app00"}) {
		t.Errorf("opened %v, want that of the app alone", s.opened)
	}
	for i := 1; i < 50; i++ {
		if got := s.held[parse(app(i)).app]; got > 0 {
			t.Errorf("%d calls of an app that is fine were held back", got)
		}
	}
	t.Logf("%d calls of the app that fails, of %d", s.calls["app00"], 20*49*9)
	if got := s.calls["app00"]; got > 20+6 {
		t.Errorf("%d calls of the app that fails, want 20 and a few probes", got)
	}
}

func TestIsOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		apps, failing, each int
		heard               Signal
		want                bool
	}{
		"all of three":             {3, 3, 2, Distress, true},
		"two of three":             {3, 2, 3, Distress, true},
		"malformed is the same":    {3, 3, 2, Malformed, true},
		"one of three":             {3, 1, 19, Distress, false},
		"half":                     {10, 5, 3, Distress, false},
		"more than half":           {10, 6, 1, Distress, true},
		"two apps are too few":     {2, 2, 19, Distress, false},
		"too little trouble":       {3, 2, 2, Distress, false},
		"a limit is none":          {10, 10, 5, Limited, false},
		"a size is nobody's fault": {10, 10, 5, Oversized, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource()
			for i := range test.apps {
				s.call(app(i), Answered)
			}
			s.now += lastMinute / 2
			for range test.each {
				s.now += second
				for i := range test.apps {
					if i < test.failing {
						s.call(app(i)+"/8 to 16 KiB", test.heard)
					} else {
						s.call(app(i), Answered)
					}
				}
			}
			if got := s.breaker(everybody).isOpen(); got != test.want {
				t.Errorf("open %t, want %t", got, test.want)
			}
		})
	}
}

// TestRandomTroubleIsNoOutage has a fifth of all calls fail, for an hour, of a few
// apps with many calls: by chance most of their last answers are trouble at times.
func TestRandomTroubleIsNoOutage(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	s := newSource()
	for range 36000 {
		heard := Answered
		if random.Float64() < 0.2 {
			heard = Distress
		}
		s.call(app(random.IntN(5)), heard)
		s.now += second / 10
	}
	if slices.Contains(s.opened, everybody) {
		t.Errorf("opened %v", s.opened)
	}
}

// TestProbesRotate has one app failing for a cause of its own ask first after each pause:
// it does not hold the others back.
func TestProbesRotate(t *testing.T) {
	t.Parallel()
	s := newSource()
	for range 3 {
		for i := range 5 {
			s.call(app(i), Distress)
		}
	}
	if !s.breaker(everybody).isOpen() {
		t.Fatal("it is not open")
	}
	var asked []int
	for range 5 {
		s.now = s.breaker(everybody).Until
		before := s.total()
		for i := range 5 {
			heard := Distress
			if len(asked) > 3 && i > 0 {
				heard = Answered
			}
			calls := s.total()
			if s.call(app(i), heard); s.total() > calls {
				asked = append(asked, i)
			}
			if !s.breaker(everybody).isOpen() {
				break
			}
		}
		if got := s.total() - before; got > 3 {
			t.Errorf("%d probes after a pause, want 3 at most", got)
		}
		if !s.breaker(everybody).isOpen() {
			break
		}
	}
	if s.breaker(everybody).isOpen() || slices.Equal(asked[:2], asked[2:4]) {
		t.Errorf("apps %v probed, want others each time, and that it is closed", asked)
	}
}

// TestASizeIsHeldBackAlone has a proxy refuse requests of one size.
func TestASizeIsHeldBackAlone(t *testing.T) {
	t.Parallel()
	s := newSource()
	large, small := app(0)+"/1 to 2 MiB", app(0)+"/up to 8 KiB"
	for range 30 {
		s.call(large, Oversized)
		s.call(small, Answered)
		s.now += second / 10
	}
	if want := []string{"app00/1 to 2 MiB"}; !slices.Equal(s.opened, want) || s.held["app00"] != 10 {
		t.Errorf("opened %v and held back %d, want %v and the 10 after the 20th refusal", s.opened, s.held["app00"], want)
	}
	s.now += firstPause
	for range 3 {
		s.call(large, Answered)
	}
	if s.Parts["app00/1 to 2 MiB"].Breaker.isOpen() {
		t.Error("three good probes did not close it")
	}
	// Good answers count against refusals of the same size.
	s = newSource()
	s.call(large, Oversized)
	for range 30 {
		s.call(large, Oversized)
		s.call(large, Answered)
		s.call(large, Answered)
	}
	if len(s.opened) > 0 {
		t.Errorf("opened %v where most requests of the size are answered", s.opened)
	}
}

var limitPattern = regexp.MustCompile(`^\d+ \d+ \d+ \d+ \d+$`)

// TestHealthInAnyOrder has anything happen in any order, with a clock that jumps:
// what it comes to is bounded, can be stored, and heals.
func TestHealthInAnyOrder(t *testing.T) {
	t.Parallel()
	signals := []Signal{Answered, Unclear, Limited, Distress, Malformed, Oversized}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := newSource()
		for range 400 {
			switch random.IntN(20) {
			case 0:
				s.now += random.Int64N(2 * longestPause)
			case 1:
				s.now -= random.Int64N(2 * longestPause)
			case 2:
				s.correct(s.now)
				s.block(s.now, random.Int64N(3*longestBlock)-longestBlock, "app01")
			default:
				s.now += random.Int64N(second)
			}
			key := app(random.IntN(6))
			if random.IntN(3) == 0 {
				key += "/8 to 16 KiB"
			}
			s.call(key, signals[random.IntN(len(signals))])
			s.mustBeBounded(t)
		}
		// All is well from now on.
		for range 25 * 60 {
			s.now += lastMinute
			for i := range 6 {
				s.call(app(i)+"/8 to 16 KiB", Answered)
			}
		}
		if states := s.states("Production", s.now, longestPause); len(states) > 0 {
			t.Fatalf("seed %d: a day later: %+v", seed, states)
		}
	}
}

func (s *source) mustBeBounded(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(s.health)
	if err != nil {
		t.Fatal(err)
	}
	var again health
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	fields, limits := s.limits(), again.limits()
	if len(fields) != len(limits) {
		t.Fatalf("stored and read again: %v, want %v", limits, fields)
	}
	for i := 1; i < len(fields); i += 2 {
		if !limitPattern.MatchString(fields[i].(string)) {
			t.Fatalf("limits of %v are %q", fields[i-1], fields[i])
		}
	}
	var breakers []*breaker
	for _, p := range s.Parts {
		breakers = append(breakers, &p.Breaker)
		if share := p.share(s.now); share < leastShare || share > 1 {
			t.Fatalf("share %v", share)
		}
		if p.Blocked > s.now+longestBlock {
			t.Fatalf("blocked for %v", micros(p.Blocked-s.now))
		}
	}
	for _, b := range breakers {
		if b.Until > s.now+longestPause || len(b.Probes) > probesNeeded || b.isOpen() != (b.Until != 0) {
			t.Fatalf("breaker %+v at %d", b, s.now)
		}
	}
}
