package ratelimit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

// fast is a rate that no test has to wait for.
var fast = Rate{PerSecond: 1e6, Burst: 1000}

// bench is a limiter and the Redis that it shares with others.
type bench struct {
	*Limiter
	t     *testing.T
	redis *redis.Client
}

func newBench(t *testing.T) bench {
	t.Helper()
	t.Parallel()
	client := connect(t, redistest.Start(t))
	return bench{newLimiter(t, Config{Redis: client, MaxWait: time.Hour}), t, client}
}

// hear makes n calls that end in the same way, and returns the last verdict.
func (b bench) hear(n int, heard Signal) Verdict {
	b.t.Helper()
	var v Verdict
	for range n {
		v = b.report(Slot{}, heard)
	}
	return v
}

func (b bench) report(s Slot, heard Signal) Verdict {
	b.t.Helper()
	v, err := b.Report(b.t.Context(), key, s, heard, "server_error")
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// refusal is the error of a call that must not get a slot.
func (b bench) refusal() *OpenError {
	b.t.Helper()
	_, err := b.Wait(b.t.Context(), key, fast)
	var open *OpenError
	if !errors.As(err, &open) || !errors.Is(err, ErrOpen) {
		b.t.Fatalf("got %v, want an OpenError", err)
	}
	return open
}

func (b bench) mustWait() Slot {
	b.t.Helper()
	s, err := b.Wait(b.t.Context(), key, fast)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// age lets time pass: it moves what is known into the past.
func (b bench) age(d time.Duration) {
	b.t.Helper()
	err := b.update(b.t.Context(), parse(key).of, func(h *health, _ int64) { h.shift(-d.Microseconds()) })
	if err != nil {
		b.t.Fatal(err)
	}
}

// shift moves all times.
func (h *health) shift(by int64) {
	move := func(times ...*int64) {
		for _, at := range times {
			if *at != 0 {
				*at += by
			}
		}
	}
	for _, p := range h.Parts {
		for i := range p.Breaker.Probes {
			move(&p.Breaker.Probes[i].At)
		}
		move(&p.Breaker.Opened, &p.Breaker.Until, &p.Answers.From, &p.Last, &p.ShareAt, &p.Cut, &p.Blocked)
	}
}

func (b bench) look() State {
	b.t.Helper()
	states, err := b.Impaired(b.t.Context())
	if err != nil || len(states) > 1 {
		b.t.Fatalf("states %+v, %v; want that of one budget", states, err)
	}
	if len(states) == 0 {
		return State{Share: 1}
	}
	if states[0].Key != key {
		b.t.Errorf("state of %s, want %s", states[0].Key, key)
	}
	return states[0]
}

// held are the budgets that nobody needs to be fed for.
func (b bench) held() []string {
	b.t.Helper()
	shares, err := b.Shares(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var held []string
	for key, share := range shares {
		if share == 0 {
			held = append(held, key)
		}
	}
	return held
}

func TestBreakerOpens(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		good, bad int
		signal    Signal
		opens     bool
	}{
		"nothing but distress":     {0, 20, Distress, true},
		"nothing but malformed":    {0, 20, Malformed, true},
		"just too few":             {0, 19, Distress, false},
		"more than half":           {19, 20, Distress, true},
		"half":                     {20, 20, Distress, false},
		"limits are no trouble":    {0, 40, Limited, false},
		"unclear is none":          {0, 40, Unclear, false},
		"answers are the opposite": {0, 40, Answered, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.hear(test.good, Answered)
			v := b.hear(test.bad, test.signal)
			if v.Open != test.opens || v.Opened != test.opens {
				t.Errorf("verdict %+v, want open and opened %t", v, test.opens)
			}
			if _, err := b.Wait(t.Context(), key, fast); errors.Is(err, ErrOpen) != test.opens {
				t.Errorf("the next call: %v, want it refused %t", err, test.opens)
			}
		})
	}
}

// TestGoodAnswersAreToldTogether saves a call to Redis for each of them.
func TestGoodAnswersAreToldTogether(t *testing.T) {
	now := time.Now()
	t.Parallel()
	client := connect(t, redistest.Start(t))
	b := bench{newLimiter(t, Config{Redis: client, MaxWait: time.Hour, Now: func() time.Time { return now }}), t, client}
	other := bench{newLimiter(t, Config{Redis: client}), t, client}
	b.hear(20, Answered)
	if n := client.Exists(t.Context(), healthKey("Production")).Val(); n != 0 {
		t.Error("good answers were told at once")
	}
	now = now.Add(notesAge)
	b.hear(1, Answered)
	if v := other.hear(21, Distress); v.Open {
		t.Errorf("another process, after 21 good answers here: %+v, want not open", v)
	}
	if v := other.hear(1, Distress); !v.Opened {
		t.Errorf("one more of trouble: %+v, want open", v)
	}
}

// TestOldAnswersDoNotCount: a long good time says nothing about now.
func TestOldAnswersDoNotCount(t *testing.T) {
	b := newBench(t)
	b.hear(100, Answered)
	b.hear(1, Distress) // which describes them
	b.age(11 * time.Second)
	if v := b.hear(20, Distress); !v.Opened {
		t.Errorf("20 of trouble after that: %+v, want open", v)
	}
}

// TestSlowBudgetCountsLonger: an app of few calls has a breaker too.
func TestSlowBudgetCountsLonger(t *testing.T) {
	b := newBench(t)
	for range 19 {
		b.hear(1, Distress)
		b.age(15 * time.Second)
	}
	if v := b.hear(1, Distress); !v.Opened {
		t.Errorf("20 of trouble in 5 minutes: %+v, want open", v)
	}
}

func TestOneHearsThatItOpened(t *testing.T) {
	b := newBench(t)
	other := bench{newLimiter(t, Config{Redis: b.redis}), t, b.redis}
	b.hear(10, Distress)
	opened := 0
	for range 20 {
		for _, v := range []Verdict{b.hear(1, Distress), other.hear(1, Distress)} {
			if v.Opened {
				opened++
			}
		}
	}
	if opened != 1 {
		t.Errorf("%d heard that it opened, want one", opened)
	}
	if got := other.refusal().RetryAfter; got > 30*time.Second || got < 20*time.Second {
		t.Errorf("retry after %v, want just under 30s", got)
	}
	if diff := cmp.Diff([]string{key}, b.held()); diff != "" {
		t.Errorf("held (-want +got)\n%s", diff)
	}
	s := b.look()
	if !s.Open || s.Why != "server_error" || time.Since(s.Since) > time.Minute || time.Until(s.Until) > 30*time.Second {
		t.Errorf("state %+v, want open for a moment for server_error", s)
	}
}

func TestProbesCloseTheBreaker(t *testing.T) {
	b := newBench(t)
	b.hear(20, Malformed)
	if s := b.look(); !s.Open || s.Share != 1 {
		t.Errorf("state %+v, want open at the whole rate", s)
	}
	b.age(30 * time.Second)
	probes := []Slot{b.mustWait(), b.mustWait(), b.mustWait()}
	for i, p := range probes {
		if !p.IsProbe() {
			t.Fatalf("call %d of an open breaker is no probe", i)
		}
	}
	b.refusal()
	if diff := cmp.Diff([]string{key}, b.held()); diff != "" {
		t.Errorf("held while it is probed (-want +got)\n%s", diff)
	}
	// Answers to what was asked before it opened say nothing now.
	b.hear(40, Distress)
	b.report(Slot{}, Answered)
	for i, p := range probes {
		v := b.report(p, Answered)
		if closed := i == 2; v.Closed != closed || v.Open == closed {
			t.Errorf("good probe %d: %+v, want closed %t", i, v, closed)
		}
	}
	if b.mustWait().IsProbe() {
		t.Error("the first call after that is a probe")
	}
	if held := b.held(); len(held) > 0 {
		t.Errorf("held: %v, want nothing", held)
	}
	if s := b.look(); s.Open || s.Share > 0.51 {
		t.Errorf("state %+v, want closed at half the rate at most", s)
	}
}

func TestBadProbeWaitsLonger(t *testing.T) {
	b := newBench(t)
	b.hear(20, Distress)
	for i, want := range []time.Duration{60, 120, 240, 480, 600, 600} {
		want *= time.Second
		b.age(time.Hour)
		probe, late := b.mustWait(), b.mustWait()
		v := b.report(probe, Distress)
		if !v.Open || v.Opened || v.RetryAfter > want || v.RetryAfter < want-10*time.Second {
			t.Errorf("bad probe %d: %+v, want %v more without a word", i, v, want)
		}
		// The others of its round find the same, which counts once.
		if v := b.report(late, Distress); v.RetryAfter > want {
			t.Errorf("late probe %d: %+v, want no more than %v", i, v, want)
		}
	}
}

func TestLostProbesAreReplaced(t *testing.T) {
	b := newBench(t)
	b.hear(20, Distress)
	b.age(30 * time.Second)
	first := b.mustWait()
	b.mustWait()
	b.mustWait()
	b.refusal()
	b.report(first, Unclear)
	if !b.mustWait().IsProbe() {
		t.Error("no probe in the place of one that says nothing")
	}
	b.refusal()
	b.age(defaultPatience + time.Second)
	if !b.mustWait().IsProbe() {
		t.Error("no probe in the place of those of a worker that is gone")
	}
}

// TestOpeningReachesTheSleepers: who has a slot does not use it.
func TestOpeningReachesTheSleepers(t *testing.T) {
	b := newBench(t)
	b.sleep = func(context.Context, time.Duration) error {
		b.hear(20, Malformed) // which leaves the rate, and with it the line, alone
		return nil
	}
	slow := Rate{PerSecond: 0.1, Burst: 1}
	mustBook(t, b.Limiter, key, slow, 1)
	if _, err := b.Wait(t.Context(), key, slow); !errors.Is(err, ErrOpen) {
		t.Errorf("woken after it opened: %v, want ErrOpen", err)
	}
}

func TestRateIsHalvedAndCreepsBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		good, bad int
		signal    Signal
		share     float64
	}{
		"a limit":                   {0, 1, Limited, 0.5},
		"many limits at once":       {0, 50, Limited, 0.5},
		"five timeouts":             {0, 5, Distress, 0.5},
		"a quarter":                 {15, 5, Distress, 0.5},
		"stray ones":                {0, 4, Distress, 1},
		"few of many":               {100, 20, Distress, 1},
		"malformed is no such sign": {0, 15, Malformed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.hear(test.good, Answered)
			b.hear(test.bad, test.signal)
			b.mustWait()
			if got := b.look().Share; got < test.share || got > test.share+0.01 {
				t.Errorf("share %v, want %v", got, test.share)
			}
			if test.share < 1 {
				b.age(5 * time.Minute)
				if got := b.look().Share; got < 0.74 || got > 0.76 {
					t.Errorf("share 5 minutes later %v, want 0.75", got)
				}
				b.age(time.Hour)
				if got := b.look().Share; got != 1 {
					t.Errorf("share much later %v, want 1", got)
				}
			}
		})
	}
}

func TestRateIsNeverHalvedToNothing(t *testing.T) {
	b := newBench(t)
	for range 20 {
		b.hear(1, Limited)
		b.age(11 * time.Second)
	}
	if got := b.look().Share; got < 1.0/32 || got > 0.05 {
		t.Errorf("share %v, want about 1/32", got)
	}
}

// TestHalvedRateIsKept looks at slots of workers that do not know of each other,
// also of those who were asleep for a slot of the line before.
func TestHalvedRateIsKept(t *testing.T) {
	b := newBench(t)
	r := Rate{PerSecond: 10, Burst: 3}
	mustBook(t, b.Limiter, key, r, 50)
	if v := b.hear(1, Limited); !v.Halved {
		t.Fatalf("verdict %+v, want halved", v)
	}
	other := newLimiter(t, Config{Redis: b.redis, MaxWait: time.Hour})
	slots := append(mustBook(t, b.Limiter, key, r, 20), mustBook(t, other, key, r, 20)...)
	if begins := time.Until(time.UnixMicro(slots[0])); begins > time.Second {
		t.Errorf("the line begins in %v, want now: who waits in the old one books anew", begins)
	}
	// The rate creeps back meanwhile, by less than a hundredth.
	checkWindows(t, slots, Rate{PerSecond: 5.05, Burst: 1})
}

func TestHalvingReachesTheSleepers(t *testing.T) {
	b := newBench(t)
	var slept []time.Duration
	b.sleep = func(_ context.Context, d time.Duration) error {
		if slept = append(slept, d); len(slept) == 1 {
			b.hear(1, Limited)
		}
		return nil
	}
	r := Rate{PerSecond: 0.1, Burst: 1}
	mustBook(t, b.Limiter, key, r, 1)
	if _, err := b.Wait(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
	if len(slept) != 2 || slept[1] < 19*time.Second || slept[1] > 20*time.Second {
		t.Errorf("slept %v, want a second sleep of 20s in the slower line", slept)
	}
}

// TestEmptiedRedisForgetsTheTrouble: the configured rate is in force again, and
// not exceeded.
func TestEmptiedRedisForgetsTheTrouble(t *testing.T) {
	b := newBench(t)
	r := Rate{PerSecond: 2, Burst: 5}
	slots := mustBook(t, b.Limiter, key, r, 5)
	b.hear(20, Distress)
	b.refusal()
	if err := b.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if s := b.look(); s.Open || s.Share != 1 {
		t.Errorf("state %+v, want as configured", s)
	}
	// Without what was saved up.
	checkWindows(t, append(slots, mustBook(t, b.Limiter, key, r, 20)...), r)
	if _, err := b.Report(t.Context(), key, Slot{probe: 7, of: "com.example.app"}, Distress, "timeout"); err != nil {
		t.Errorf("report of a probe of before: %v", err)
	}
}

func TestBreakersAreIndependent(t *testing.T) {
	b := newBench(t)
	b.hear(20, Distress)
	b.refusal()
	if _, err := b.Wait(t.Context(), "com.example.app/Sandbox", fast); err != nil {
		t.Errorf("the other environment: %v", err)
	}
}

func TestReportWithoutRedis(t *testing.T) {
	b := newBench(t)
	if err := b.redis.ShutdownNoSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Report(t.Context(), key, Slot{}, Distress, "timeout"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Report: got %v, want ErrUnavailable", err)
	}
	if _, err := b.Shares(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Shares: got %v, want ErrUnavailable", err)
	}
	if _, err := b.Impaired(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Impaired: got %v, want ErrUnavailable", err)
	}
}
