package clock

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// noon is what the machine shows at the start of every test here.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a machine and another clock, whose readings take a while.
type world struct {
	t     *testing.T
	local time.Time
	// ahead is by how much the other clock is ahead of the machine's, and speed
	// its own.
	ahead time.Duration
	speed float64
	// there and back is what a question and its answer take, one after the other.
	there, back []time.Duration
	err         error
	reads       int
	log         bytes.Buffer
	*Clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, local: noon, speed: 1}
	c, err := New(Config{
		Name: "other", Read: w.read, Local: func() time.Time { return w.local },
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Clock = c
	return w
}

func (w *world) read(context.Context) (Reading, error) {
	w.reads++
	w.local = w.local.Add(next(&w.there))
	r := Reading{At: w.local.Add(w.ahead), Speed: w.speed}
	w.local = w.local.Add(next(&w.back))
	return r, w.err
}

func next(all *[]time.Duration) (first time.Duration) {
	if len(*all) > 0 {
		first, *all = (*all)[0], (*all)[1:]
	}
	return first
}

func (w *world) measure() {
	w.t.Helper()
	if err := w.Measure(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.local = w.local.Add(time.Nanosecond) // no two questions at one moment
}

// mustBe holds the clock to being off by no more than slack.
func (w *world) mustBe(want time.Duration, slack time.Duration) {
	w.t.Helper()
	if got := w.Now().Sub(w.local); (got - want).Abs() > slack {
		w.t.Errorf("ahead of the machine by %s, want %s within %s", got, want, slack)
	}
}

func TestNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustBe(0, 0) // goes by the machine, until it was read
	w.ahead = -time.Hour
	w.measure()
	w.mustBe(-time.Hour, 0)
	w.local = w.local.Add(3 * time.Hour)
	w.mustBe(-time.Hour, 0)
	if zone := w.Now().Location(); zone != time.UTC {
		t.Errorf("in the zone %v, want UTC", zone)
	}
}

// TestNowWithoutAnswer goes by the last reading.
func TestNowWithoutAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ahead = time.Hour
	w.measure()
	w.err = errors.New("away")
	w.ahead = 0
	if err := w.Measure(t.Context()); !errors.Is(err, w.err) {
		t.Errorf("got %v, want what the reading said", err)
	}
	w.mustBe(time.Hour, 0)
}

// TestMeasureHalvesTheWay takes a reading to be of the middle of what it took.
func TestMeasureHalvesTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ahead = time.Hour
	w.there, w.back = []time.Duration{time.Millisecond}, []time.Duration{time.Millisecond}
	w.measure()
	w.mustBe(time.Hour, 0)
	if w.reads != 1 {
		t.Errorf("%d readings, want one that was quick", w.reads)
	}
}

// TestMeasureAgain prefers the quickest of several readings.
func TestMeasureAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ahead = time.Hour
	w.there = []time.Duration{0, time.Millisecond, 0}
	w.back = []time.Duration{20 * time.Second, time.Millisecond, time.Second}
	w.measure()
	w.mustBe(time.Hour, 0)
	if w.reads != 2 {
		t.Errorf("%d readings, want a second one, which was quick", w.reads)
	}
}

// TestSlowReadingsDoNotJitter: the time goes on evenly where a reading does not
// contradict it.
func TestSlowReadingsDoNotJitter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ahead = time.Hour
	w.measure()
	for range 10 {
		w.there = []time.Duration{0, 0, 0}
		w.back = []time.Duration{time.Second, time.Second, time.Second}
		w.measure()
		w.mustBe(time.Hour, 0)
	}
}

// TestBetterReadingCounts where the first was slow, as one that has to connect.
func TestBetterReadingCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ahead = time.Hour
	w.back = []time.Duration{time.Second, time.Second, time.Second}
	w.measure()
	w.mustBe(time.Hour, time.Second)
	w.measure()
	w.mustBe(time.Hour, 0)
}

// TestClockIsSet follows a clock that is set, and says so.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.measure()
	w.ahead = -time.Hour
	w.measure()
	w.mustBe(-time.Hour, 0)
	if text := w.log.String(); !strings.Contains(text, `msg="clock was set" clock=other by=-1h0m0s`) {
		t.Errorf("log: got %q", text)
	}
}

// TestMachineSleeps: the machine does not count what it slept through.
func TestMachineSleeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.measure()
	w.ahead = 8 * time.Hour
	w.mustBe(0, 0)
	w.measure()
	w.mustBe(8*time.Hour, 0)
}

func TestSpeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.speed = 60
	w.measure()
	w.local = w.local.Add(time.Minute)
	w.mustBe(59*time.Minute, time.Millisecond)
}

// TestOneMeasuresForAll: whoever asks while another reads gets its result.
func TestOneMeasuresForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads int
		c, err := New(Config{Name: "other", Read: func(context.Context) (Reading, error) {
			reads++
			time.Sleep(time.Second) // of the bubble
			return Reading{At: time.Now(), Speed: 1}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ask := func() {
			if err := c.Measure(t.Context()); err != nil {
				t.Error(err)
			}
		}
		var all sync.WaitGroup
		all.Go(ask)
		time.Sleep(time.Millisecond)
		for range 100 {
			all.Go(ask)
		}
		all.Wait()
		if reads > 2*tries {
			t.Errorf("%d readings for 101 who asked, want those of two rounds", reads)
		}
	})
}

// TestRun reads again and again, also after a failure, until it is asked to stop.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var ahead atomic.Int64
		var away atomic.Bool
		read := func(context.Context) (Reading, error) {
			if away.Load() {
				return Reading{}, errors.New("away")
			}
			return Reading{At: time.Now().Add(time.Duration(ahead.Load())), Speed: 1}, nil
		}
		c, err := New(Config{Name: "other", Every: time.Minute, Read: read, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		must := func(want time.Duration) {
			t.Helper()
			time.Sleep(5*time.Minute + time.Second)
			synctest.Wait()
			if got := time.Until(c.Now()); got != want {
				t.Errorf("ahead by %s, want %s", got, want)
			}
		}
		ahead.Store(int64(time.Hour))
		must(time.Hour)
		away.Store(true)
		ahead.Store(0)
		must(time.Hour)
		away.Store(false)
		must(0)
		cancel()
		<-ended
		if n := strings.Count(log.String(), "could not read the clock"); n != 1 {
			t.Errorf("an outage is logged %d times, want once\n%s", n, &log)
		}
	})
}

func TestSimulator(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body string
		status     int
		want       Reading
		fails      bool
	}{
		{"runs", `{"now":"2026-03-01T12:00:00Z","speed":1,"seconds_since_set":7}`, 200, Reading{noon, 1}, false},
		{"is fast", `{"now":"2026-03-01T12:00:00Z","speed":60,"seconds_since_set":7}`, 200, Reading{noon, 60}, false},
		{"stands still", `{"now":"2026-03-01T12:00:00Z","speed":0,"seconds_since_set":7.5}`, 200, Reading{noon.Add(7500 * time.Millisecond), 1}, false},
		{"no time", `{}`, 200, Reading{}, true},
		{"no JSON", `ok`, 200, Reading{}, true},
		{"not found", `{"now":"2026-03-01T12:00:00Z","speed":1}`, 404, Reading{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer server.Close()
			got, err := Simulator(server.URL)(t.Context())
			if (err != nil) != test.fails || got != test.want {
				t.Errorf("got %v and error %v, want %v", got, err, test.want)
			}
		})
	}
	if _, err := Simulator("http://127.0.0.1:1/control/clock")(t.Context()); err == nil {
		t.Error("nobody there: got no error")
	}
}

func TestNewWants(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Name: "other"}); err == nil {
		t.Error("without a way to read: got no error")
	}
}

func BenchmarkNow(b *testing.B) {
	c, err := New(Config{Name: "other", Read: func(context.Context) (Reading, error) { return Reading{At: noon, Speed: 1}, nil }})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Measure(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Now()
	}
}
