package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
	"revalidator/internal/runs"
	"revalidator/worker"
)

const month = 30 * 24 * time.Hour

// TestMachinesAnHourApart has workers on machines whose clocks are an hour ahead
// and an hour behind, while the database's is right, for two nights with a month
// in between.
func TestMachinesAnHourApart(t *testing.T) {
	t.Parallel()
	const (
		customers = 800
		rate      = 400.0
		burst     = 20
	)
	n := newNight(t, applesim.Config{Seed: 14, Customers: customers}, rate, burst)
	must(t, n.judge().Watch(t.Context()))
	stop := n.beside(n.workerWith(n.onMachine(time.Hour)).Run, n.workerWith(n.onMachine(-time.Hour)).Run)
	defer stop()
	for night := range 2 {
		since := n.lastRequest()
		n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
		run := n.run("a night")
		v, err := n.judge().Judge(t.Context(), judge.Case{
			RunID: run.ID, Since: since, Started: n.now(),
			Rate: rate, Burst: burst, RateSlack: 750 * time.Millisecond,
		})
		must(t, err)
		for _, complaint := range v.Complaints {
			t.Errorf("night %d: %s", night+1, complaint)
		}
		if late := n.count(`SELECT count(*) FROM receipts WHERE last_checked_at > '` + n.now().Format(time.RFC3339Nano) + `'`); late > 0 {
			t.Errorf("night %d: %d results are dated by the clock of a machine", night+1, late)
		}
		n.goBy(month)
	}
	if differ := n.count(`SELECT count(*) FROM endpoint_clocks`); differ > 0 {
		t.Errorf("%d endpoints are suspected", differ)
	}
}

// onMachine is a worker on a machine whose clock is so far ahead of the
// database's, as the program makes one.
func (n *night) onMachine(ahead time.Duration) func(*worker.Config) {
	n.t.Helper()
	c, err := clock.New(clock.Config{
		Name:  "database",
		Read:  func(context.Context) (clock.Reading, error) { return clock.Reading{At: n.now(), Speed: 1}, nil },
		Local: func() time.Time { return n.now().Add(ahead) },
	})
	must(n.t, err)
	must(n.t, c.Measure(n.t.Context()))
	return func(cfg *worker.Config) { cfg.Now, cfg.MeasureDates = c.Now, c.Measure }
}

// goBy lets time go by, for the installation and the App Store.
func (n *night) goBy(d time.Duration) {
	n.past.Add(int64(d))
	n.sim.Clock().Advance(d)
}

// lastRequest is the number of the last request in the App Store's log.
func (n *night) lastRequest() int64 {
	entries := slices.Collect(n.sim.Log(0))
	if len(entries) == 0 {
		return 0
	}
	return entries[len(entries)-1].Seq
}

// TestRepliesOfAnotherTime has a few replies say that they are of another time,
// as one of a server with a wrong clock did, or come from a proxy that has kept
// them: nothing of them is stored, and the true ones that come later are.
func TestRepliesOfAnotherTime(t *testing.T) {
	t.Parallel()
	years := func(year int) func(time.Time) time.Time {
		return func(time.Time) time.Time { return time.Date(year, 3, 1, 12, 0, 0, 0, time.UTC) }
	}
	for name, of := range map[string]func(now time.Time) time.Time{
		"2090": years(2090), "2019": years(2019), "2009": years(2009),
		"an hour ahead":    func(now time.Time) time.Time { return now.Add(time.Hour) },
		"eleven minutes":   func(now time.Time) time.Time { return now.Add(-11 * time.Minute) },
		"kept by a proxy":  nil,
		"kept for one day": func(now time.Time) time.Time { return now.Add(-24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repliesOfAnotherTime(t, of)
		})
	}
}

func repliesOfAnotherTime(t *testing.T, of func(now time.Time) time.Time) {
	t.Helper()
	const customers, odd = 40, 2 // three would agree that the clock is wrong
	mix := applesim.DefaultMix()
	mix.Sandbox = 0
	n := newNight(t, applesim.Config{Seed: 15, Customers: customers, Mix: &mix}, 5000, 1000)
	proxy := n.behindProxy()
	stop := n.beside(n.worker().Run)
	defer stop()
	n.run("first")
	before := n.count(`SELECT count(*) FROM subscription_events`)
	n.goBy(month)
	n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())

	proxy.spoil(odd, of)
	done := n.running("second")
	n.eventually("all but the odd ones are checked", func() bool {
		return n.count(`SELECT count(*) FROM receipts WHERE last_checked_at < '`+n.now().Format(time.RFC3339Nano)+`'`) == odd &&
			n.count(`SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL`) == 0
	})
	if touched := n.count(`SELECT count(*) FROM receipts WHERE next_check_rule = 'clock_differs' AND consecutive_failures = 0 AND failures_alike = 0
		AND last_error IS NULL AND state = 'valid' AND last_checked_at <= '` + n.start.Format(time.RFC3339Nano) + `'`); touched != odd {
		t.Errorf("%d receipts wait for another reply without a failure of theirs, want %d", touched, odd)
	}
	if future := n.count(`SELECT count(*) FROM subscriptions WHERE as_of <> '` + n.now().Format(time.RFC3339Nano) + `' AND as_of <> '` + n.start.Format(time.RFC3339Nano) + `'`); future > 0 {
		t.Errorf("%d subscriptions are of another time", future)
	}
	n.goBy(2 * time.Minute)
	run := <-done
	if run.Done != customers || run.Failed != 0 || run.Calls != customers+odd {
		t.Errorf("totals %+v: want all %d done with %d calls", run, customers, customers+odd)
	}
	if got := n.failures(run); got != fmt.Sprintf("[{clock_differs %d}]", odd) {
		t.Errorf("failed responses: got %s, want %d whose clock differs", got, odd)
	}
	if n.count(`SELECT count(*) FROM subscription_events`) == before {
		t.Error("nothing changed in a month: the test proves little")
	}
	n.exec(`UPDATE receipts SET next_check_at = $1`, n.now()) // all as of one moment
	n.run("third")
	n.mustMatchTruth()
}

// TestReplyKeptForGood has a proxy that answers for one receipt with a reply of
// yesterday, for ever: the receipt leaves its run, and others do not wait for it.
func TestReplyKeptForGood(t *testing.T) {
	t.Parallel()
	const customers = 10
	mix := applesim.DefaultMix()
	mix.Sandbox = 0
	n := newNight(t, applesim.Config{Seed: 16, Customers: customers, Mix: &mix}, 5000, 1000)
	proxy := n.behindProxy()
	stop := n.beside(n.worker().Run)
	defer stop()
	n.run("first")
	proxy.keep(1)
	n.goBy(24 * time.Hour)
	for i, kind := range []string{"run", "backfill"} {
		n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
		n.exec(`UPDATE receipts SET next_check_rule = 'renewal'`)
		begin := n.running
		if kind == "backfill" {
			begin = n.backfilling
		}
		done := begin(kind)
		n.eventually("it waits for another try", func() bool {
			return n.count(`SELECT count(*) FROM receipts WHERE next_check_rule = 'clock_differs' AND run_id IS NOT NULL AND claimed_until IS NULL`) == 1
		})
		n.goBy(2 * time.Minute)
		run := <-done
		if run.Counted() != customers || run.Done != customers || run.Failed != 1 || run.Calls != customers+1 {
			t.Errorf("%s: totals %+v: want %d done, and the one that has left it failed", kind, run, customers)
		}
		if left := n.count(`SELECT count(*) FROM receipts WHERE next_check_rule = 'clock_differs' AND consecutive_failures = 0
			AND run_id IS NULL AND next_check_at >= '` + n.now().Add(time.Hour).Format(time.RFC3339Nano) + `'`); left != 1 {
			t.Errorf("%s: %d receipts are due in an hour without a failure of theirs, want 1", kind, left)
		}
		n.goBy(time.Duration(i+1) * time.Hour)
	}
}

// running does a run beside the test.
func (n *night) running(name string) <-chan runs.Totals {
	done := make(chan runs.Totals, 1)
	go func() { done <- n.run(name) }()
	return done
}

// backfilling does a backfill over everything beside the test.
func (n *night) backfilling(name string) <-chan runs.Totals {
	n.t.Helper()
	s := n.scheduler(name, "")
	run, err := s.OpenBackfill(n.t.Context(), runs.Filter{}, 1, false)
	must(n.t, err)
	done := make(chan runs.Totals, 1)
	go func() {
		ctx, cancel := context.WithTimeout(n.t.Context(), patience)
		defer cancel()
		totals, err := s.Feed(ctx, run)
		if err != nil {
			n.t.Error(err)
		}
		done <- totals
	}()
	return done
}

// eventually polls until something is true.
func (n *night) eventually(what string, isTrue func() bool) {
	n.t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(patience)
	for !isTrue() {
		select {
		case <-poll.C:
		case <-timeout:
			n.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// proxy stands before the App Store, and spoils the time of some replies.
type proxy struct {
	store http.Handler

	mu sync.Mutex
	// left is how many replies are still to be spoiled, and of what time they
	// become; nil answers with what was kept.
	left int
	of   func(now time.Time) time.Time
	// kept are the last replies, by request; always are requests that are never
	// passed on again.
	kept   map[string]*httptest.ResponseRecorder
	always map[string]bool
}

// behindProxy puts a proxy before the App Store.
func (n *night) behindProxy() *proxy {
	n.t.Helper()
	p := &proxy{store: n.sim.Handler(), kept: make(map[string]*httptest.ResponseRecorder), always: make(map[string]bool)}
	n.apple.Close()
	n.apple = httptest.NewServer(p)
	n.t.Cleanup(n.apple.Close)
	return p
}

func (p *proxy) spoil(replies int, of func(now time.Time) time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.of = replies, of
}

// keep answers so many of the requests that were made with what was kept.
func (p *proxy) keep(requests int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for request := range p.kept {
		if len(p.always) < requests {
			p.always[request] = true
		}
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	reply := p.kept[string(body)]
	old := p.always[string(body)] || p.left > 0 && p.of == nil && reply != nil
	if !old {
		reply = httptest.NewRecorder()
		p.store.ServeHTTP(reply, r)
		p.kept[string(body)] = reply
	}
	text := reply.Body.Bytes()
	for name, values := range reply.Header() {
		w.Header()[name] = values
	}
	if p.left > 0 && reply.Code == http.StatusOK {
		p.left--
		if p.of != nil {
			text = redated(w.Header(), text, p.of)
		}
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(reply.Code)
	_, _ = w.Write(text)
}

var requestDate = regexp.MustCompile(`"request_date_ms":"(\d+)"`)

// redated is a reply that was made at another time, in all places that tell it.
func redated(header http.Header, text []byte, of func(now time.Time) time.Time) []byte {
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		panic(err)
	}
	header.Set("Date", of(now).UTC().Format(http.TimeFormat))
	return requestDate.ReplaceAll(text, []byte(`"request_date_ms":"`+strconv.FormatInt(of(now).UnixMilli(), 10)+`"`))
}
