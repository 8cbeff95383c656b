package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/iap"
)

// fakeClocks is the database's share of what replies say of the time.
type fakeClocks struct {
	mu    sync.Mutex
	rows  map[iap.Environment]clock.Endpoint
	err   error
	reads int
	notes int
}

func (s *fakeClocks) EndpointClocks(context.Context) ([]clock.Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var all []clock.Endpoint
	for _, c := range s.rows {
		all = append(all, c)
	}
	return all, s.err
}

func (s *fakeClocks) ClockDiffered(_ context.Context, e iap.Environment, r clock.Reply, alone bool) (clock.Endpoint, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes++
	before := s.rows[e]
	before.Environment = e
	after := before.Differed(r, alone)
	if s.rows == nil {
		s.rows = make(map[iap.Environment]clock.Endpoint)
	}
	s.rows[e] = after
	return after, after.Held() && !before.Held(), s.err
}

func (s *fakeClocks) ClockAgreed(_ context.Context, e iap.Environment, _ time.Time, probe bool) (clock.Endpoint, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes++
	c, known := s.rows[e]
	if known && c.Held() && !probe {
		return c, false, s.err
	}
	if known && c.Held() {
		after, over := c.ProbeAgreed()
		if s.rows[e] = after; !over {
			return after, false, s.err
		}
		delete(s.rows, e)
		return after, true, s.err
	}
	delete(s.rows, e)
	return clock.Endpoint{}, false, s.err
}

func (s *fakeClocks) ClaimClockProbe(_ context.Context, e iap.Environment, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.rows[e]
	if !known || !c.ProbeDue(now) {
		return false, s.err
	}
	s.rows[e] = c.Probing(now)
	return true, s.err
}

// timed is a worker whose replies are of a time that a test sets, by the
// endpoint that is asked.
type timed struct {
	parts
	t      *testing.T
	clocks *fakeClocks
	// ahead is by how much replies are ahead of noon, and asked how many calls
	// there were.
	ahead map[iap.Environment]time.Duration
	asked int
	// instead is the error in the place of a success.
	instead error
}

func newTimed(t *testing.T, change func(*Config)) *timed {
	t.Helper()
	w := &timed{t: t, clocks: &fakeClocks{}, ahead: make(map[iap.Environment]time.Duration)}
	w.parts = newParts(t, func(c *Config) {
		c.Clocks = w.clocks
		c.AppStore = appStore(w.verify)
		if change != nil {
			change(c)
		}
	})
	return w
}

func (w *timed) verify(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
	e := r.Environment
	if e == "" {
		e = iap.Production
	}
	a := appstore.Answer{Environment: e}
	if err := r.Wait(ctx, e); err != nil {
		return a, waited(err)
	}
	w.asked++
	a = accepted()
	a.Environment, a.Facts.Environment, a.Facts.AsOf = e, e, noon.Add(w.ahead[e])
	if w.instead != nil {
		return a, asked(w.instead)
	}
	return a, nil
}

// check is one check, with its outcome.
func (w *timed) check() claim.Outcome {
	w.t.Helper()
	w.store.saved = nil
	return w.mustHandle(w.t)
}

// classes are the classes of n checks, one after the other; "" is a success.
func (w *timed) classes(n int) (classes []string) {
	w.t.Helper()
	for range n {
		classes = append(classes, w.check().Failure)
	}
	return classes
}

func (w *timed) mustBe(when string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.classes(len(want))); diff != "" {
		w.t.Errorf("%s: classes (-want +got)\n%s", when, diff)
	}
}

// TestTimeOfReply is believed near the clock only, ahead and behind. What is not
// believed is no success and no failure of the receipt.
func TestTimeOfReply(t *testing.T) {
	t.Parallel()
	year := func(y int) time.Duration { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).Sub(noon) }
	for name, test := range map[string]struct {
		ahead    time.Duration
		believed bool
	}{
		"now":                   {0, true},
		"ten minutes behind":    {-10 * time.Minute, true},
		"ten minutes ahead":     {10 * time.Minute, true},
		"more behind":           {-10*time.Minute - time.Millisecond, false},
		"more ahead":            {10*time.Minute + time.Millisecond, false},
		"2090":                  {year(2090), false},
		"1970":                  {year(1970), false},
		"2019":                  {year(2019), false},
		"9999, beyond counting": {1<<63 - 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTimed(t, nil)
			w.ahead[iap.Production] = test.ahead
			o := w.check()
			if got := o.Asked && o.Conclusion != nil && o.Failure == ""; got != test.believed {
				t.Errorf("outcome %+v: believed %v, want %v", o, got, test.believed)
			}
			if !test.believed && (o.Asked || o.Conclusion != nil || o.State != "" || o.Environment != "" || o.Code != nil ||
				o.Failure != "clock_differs" || o.Calls != 1 || !o.Stays || o.NextCheck.At.Sub(noon) < clockAfter || o.NextCheck.At.Sub(noon) > 2*clockAfter) {
				t.Errorf("outcome %+v: want one call, nothing stored, and another check in a minute of the clock", o)
			}
			if marks := len(w.store.marks); test.believed != (marks > 0) {
				t.Errorf("%d marks on the secret, want some: %v", marks, test.believed)
			}
		})
	}
}

// TestTimeOfRefusal does not believe what an old reply says of a receipt or a
// secret either.
func TestTimeOfRefusal(t *testing.T) {
	t.Parallel()
	for _, code := range []int{21003, 21004, 21010, 21005} {
		w := newTimed(t, nil)
		w.ahead[iap.Production], w.instead = -24*time.Hour, status(code)
		if o := w.check(); o.Failure != "clock_differs" || o.Asked || o.State != "" {
			t.Errorf("%d of yesterday: got %+v, want nothing to be believed", code, o)
		}
		if len(w.store.paused)+len(w.store.marks) > 0 {
			t.Errorf("%d of yesterday: paused %v and marked %v, want neither", code, w.store.paused, w.store.marks)
		}
	}
}

// TestToleranceIsASetting.
func TestToleranceIsASetting(t *testing.T) {
	t.Parallel()
	w := newTimed(t, func(c *Config) { c.ClockTolerance = time.Hour })
	w.ahead[iap.Production] = -time.Hour
	w.mustBe("an hour behind", "")
	w.ahead[iap.Production] = -time.Hour - time.Second
	w.mustBe("more", "clock_differs")
}

// TestReplyIsComparedWhenItComes, and not when it is saved.
func TestReplyIsComparedWhenItComes(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	o, err := w.parts.check(t.Context(), claimed(), w.memory.room(claimed()))
	if err != nil || o.Failure != "" {
		t.Fatalf("got %+v and %v, want a success", o, err)
	}
	w.clock.advance(time.Hour)
	if _, saved, err := w.saveSafely(t.Context(), claimed(), o); err != nil || !saved {
		t.Errorf("saved an hour later: got %v and %v, want it saved", saved, err)
	}
}

// TestClockIsReadAgain before a reply is not believed: the machine may have
// slept since it was read.
func TestClockIsReadAgain(t *testing.T) {
	t.Parallel()
	var w *timed
	readings := 0
	w = newTimed(t, func(c *Config) {
		c.MeasureDates = func(context.Context) error {
			readings++
			w.clock.advance(8 * time.Hour)
			return nil
		}
	})
	w.ahead[iap.Production] = 8 * time.Hour
	w.mustBe("after eight hours of sleep", "", "")
	if readings != 1 {
		t.Errorf("%d readings, want one, where a reply differed", readings)
	}
}

// TestAppleTimeIsAnotherClock where the App Store is simulated: results are dated
// by it.
func TestAppleTimeIsAnotherClock(t *testing.T) {
	t.Parallel()
	then := noon.Add(-30 * 24 * time.Hour)
	w := newTimed(t, func(c *Config) { c.Dates = func() time.Time { return then } })
	w.mustBe("by the shared clock", "clock_differs")
	w.ahead[iap.Production] = then.Sub(noon)
	if o := w.check(); o.Failure != "" || !o.At.Equal(then) {
		t.Errorf("got %+v, want a success at %v", o, then)
	}
}

// TestClockIsWrong: three replies say so, and checks of their endpoint are held
// but for one a minute, until two of these agree. One error says so.
func TestClockIsWrong(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	w.ahead[iap.Production] = -time.Hour
	w.mustBe("at first", "clock_differs", "clock_differs", "clock_differs")
	last := w.store.saved[len(w.store.saved)-1]
	if !last.NextCheck.At.IsZero() || last.NextCheck.Rule != "" {
		t.Errorf("next check after the third: got %+v, want it as it was: our time is wrong", last.NextCheck)
	}
	w.mustBe("held", "clock_wrong", "clock_wrong")
	if w.asked != 3 {
		t.Errorf("%d calls, want none while checks are held", w.asked)
	}
	if held := w.store.saved[len(w.store.saved)-1]; held.Asked || held.Calls != 0 || !held.NextCheck.At.IsZero() || !held.Stays {
		t.Errorf("held: got %+v, want it given back as it was", held)
	}
	w.clock.advance(time.Minute)
	w.ahead[iap.Production] += time.Minute
	w.mustBe("a minute later", "clock_differs", "clock_wrong")

	w.clock.advance(-time.Hour) // the clock is set
	w.mustBe("once it is set", "", "clock_wrong")
	w.clock.advance(time.Minute)
	w.ahead[iap.Production] += time.Minute
	w.mustBe("another minute later", "", "", "")
	if errs := w.log.at(slog.LevelError); len(errs) != 1 {
		t.Errorf("errors in the log: %q, want one", errs)
	}
	if infos := w.log.at(slog.LevelInfo); len(infos) != 1 {
		t.Errorf("in the log at info: %q, want that checks go on", infos)
	}
}

// TestOtherEndpointGoesOn while checks of one are held.
func TestOtherEndpointGoesOn(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	w.ahead[iap.Sandbox] = -time.Hour
	w.store.receipt.Environment = iap.Sandbox
	w.mustBe("the sandbox", "clock_differs", "clock_differs", "clock_differs", "clock_wrong")
	if o := w.store.saved[len(w.store.saved)-1]; !o.NextCheck.At.After(noon) || o.NextCheck.Rule != iap.RuleWait {
		t.Errorf("held for the sandbox alone: got %+v, want it put off", o.NextCheck)
	}
	w.store.receipt.Environment = iap.Production
	w.mustBe("production", "", "")
}

// TestOneGoodReplyIsEnough against a wrong clock: one of Apple's servers may be
// wrong, or a proxy have kept its replies.
func TestOneGoodReplyIsEnough(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	for range 3 {
		w.ahead[iap.Production] = -time.Hour
		w.mustBe("twice differing", "clock_differs", "clock_differs")
		w.ahead[iap.Production] = 0
		w.mustBe("then not", "")
	}
	if len(w.clocks.rows) > 0 {
		if c := w.clocks.rows[iap.Production]; c.Held() {
			t.Errorf("held: %+v", c)
		}
	}
	w.clock.advance(clocksAge)
	w.ahead[iap.Production] = -clocksAge
	w.mustBe("another good one", "")
	if len(w.clocks.rows) > 0 {
		t.Errorf("still suspected: %+v", w.clocks.rows)
	}
}

// TestUsualWayAsksNobody: while replies agree, the database is looked at every
// two seconds, and nothing is written.
func TestUsualWayAsksNobody(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	w.classes(50)
	w.clock.advance(clocksAge)
	w.classes(50)
	w.clock.advance(-time.Minute) // the clock was set back
	w.classes(50)
	if w.clocks.reads != 3 || w.clocks.notes != 0 {
		t.Errorf("150 checks: %d looks and %d notes, want 3 and none", w.clocks.reads, w.clocks.notes)
	}
}

// TestClocksAway believes no reply that differs, though nobody can be told.
func TestClocksAway(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	w.clocks.err = errors.New("postgres is away")
	w.ahead[iap.Production] = time.Hour
	w.mustBe("ahead", "clock_differs", "clock_differs", "clock_differs", "clock_differs")
	w.ahead[iap.Production] = 0
	w.mustBe("right", "")
}

// TestDifferingAgain in another run: the receipt leaves it, and waits longer.
func TestDifferingAgain(t *testing.T) {
	t.Parallel()
	w := newTimed(t, nil)
	w.ahead[iap.Production] = time.Hour
	w.store.receipt.Rule = iap.RuleClockDiffers
	o := w.check()
	if wait := o.NextCheck.At.Sub(noon); o.Stays || wait < time.Hour || wait >= clock.DiffersWithin || o.NextCheck.Rule != iap.RuleClockDiffers {
		t.Errorf("got %+v, want it out of the run for an hour", o)
	}
}
