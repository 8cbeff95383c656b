package e2e

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
	"time"

	"golang.org/x/sync/errgroup"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/clock"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/iap"
	"revalidator/worker"
)

const (
	readerApp  = "com.example.reader"
	fitnessApp = "com.example.fitness"

	newSecret     = "11112222333344445555666677778888"
	primarySecret = "99990000aaaabbbbccccddddeeeeffff"
)

// regeneration is a night in which somebody generates a new secret in App Store
// Connect while the receipts of an app are being asked about.
type regeneration struct {
	*night
	// after is how many requests go well before; do is what happens then.
	after int64
	do    func()
	// flying is how many calls are on their way, atMoment how many were then,
	// and late how many set out after it before the first refusal was back.
	requests, flying, atMoment, late atomic.Int64
	died                             atomic.Bool
	// skipped is time that went by without anybody waiting for it.
	skipped atomic.Int64
	log     *logText
	kill    context.CancelFunc
}

// latency is how long the App Store takes, half of it before it looks at the
// secret, so that some calls are on their way at any moment.
const latency = 40 * time.Millisecond

// enough is how many calls are on their way at least at the moment of
// regeneration: of very few, twice as many would prove nothing.
const enough = 10

func newRegeneration(t *testing.T, customers int, secrets ...string) *regeneration {
	t.Helper()
	n := newNight(t, applesim.Config{
		Seed: 11, Customers: customers, Apps: []applesim.App{applesim.NewApp(11, readerApp, true)},
	}, 1000, 10)
	g := &regeneration{night: n, after: int64(customers) / 3, log: &logText{}}
	g.do = func() { n.sim.SetSecrets(readerApp, secrets) }
	handler := n.sim.Handler()
	n.apple = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.requests.Add(1) >= g.after && g.flying.Load() >= enough && g.died.CompareAndSwap(false, true) {
			g.atMoment.Store(g.flying.Load())
			g.do()
			g.kill()
		}
		_ = clock.Sleep(r.Context(), latency/2)
		handler.ServeHTTP(w, r)
		_ = clock.Sleep(r.Context(), latency/2)
	}))
	t.Cleanup(n.apple.Close)
	return g
}

// begin runs two workers, of which one is killed at the moment of regeneration
// with whatever it has in hand, and lets time go by.
func (g *regeneration) begin() (stop func()) {
	var ctx context.Context
	ctx, g.kill = context.WithCancel(context.WithoutCancel(g.t.Context()))
	killed := g.workerWith(func(c *worker.Config) {
		g.watch(c)
		c.ShutdownTimeout = time.Nanosecond
	})
	stopOthers := g.beside(g.workerWith(g.watch).Run, g.passTime)
	stopKilled := g.beside(func(context.Context) error { return killed.Run(ctx) })
	stop = func() {
		g.kill()
		stopKilled()
		stopOthers()
	}
	g.t.Cleanup(stop)
	return stop
}

// passTime moves the clock of the installation; that of the App Store stands.
func (g *regeneration) passTime(ctx context.Context) error {
	started := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		g.past.Store(int64(time.Since(started)) + g.skipped.Load())
		<-tick.C
	}
	return nil
}

// watch has a worker log, and its calls counted from the limiter to the answer.
func (g *regeneration) watch(c *worker.Config) {
	c.Logger = slog.New(slog.NewTextHandler(g.log, nil))
	c.AppStore = &countedCalls{AppStore: c.AppStore, g: g}
}

// countedCalls counts the calls of one worker.
type countedCalls struct {
	worker.AppStore
	g       *regeneration
	refused atomic.Bool
}

func (a *countedCalls) VerifyReceipt(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
	var calls int64
	wait := r.Wait
	r.Wait = func(ctx context.Context, e iap.Environment) error {
		err := wait(ctx, e)
		if err == nil && calls == 0 {
			calls = a.g.flying.Add(1)
			if a.g.died.Load() && !a.refused.Load() {
				a.g.late.Add(1)
			}
		}
		return err
	}
	defer func() {
		if calls > 0 {
			a.g.flying.Add(-1)
		}
	}()
	answer, err := a.AppStore.VerifyReceipt(ctx, r)
	if errors.Is(err, appstore.ErrSharedSecret) {
		a.refused.Store(true)
	}
	return answer, err
}

// mustHaveSpent checks what the dead secret has cost: less than twice the calls
// that were on their way when it died. On a machine that is busy elsewhere the
// first refusal may take long to come back, and more calls set out meanwhile;
// once it is there, none but one at a time does.
func (g *regeneration) mustHaveSpent() {
	g.t.Helper()
	// How many may set out between a refusal and its being noted.
	const slip = 10
	dead := int64(0)
	for entry := range g.sim.Log(0) {
		if entry.Secret == applesim.SecretRefused {
			dead++
		}
	}
	onTheWay, late := g.atMoment.Load(), g.late.Load()
	g.t.Logf("%d calls with a dead secret, %d on their way when it died, %d set out before the first refusal", dead, onTheWay, late)
	if dead == 0 || dead >= 2*onTheWay && dead > onTheWay+late+slip {
		g.t.Errorf("%d calls with a dead secret, want some, and less than twice the %d on their way (%d set out later)", dead, onTheWay, late)
	}
}

// mustHaveAlarmed checks how often a person was called. The line of an alarm is
// written right after the pause that others see.
func (g *regeneration) mustHaveAlarmed(times int) {
	g.t.Helper()
	g.await("the alarms", func() bool { return strings.Count(g.log.String(), "level=ERROR") >= times })
	if got := strings.Count(g.log.String(), `level=ERROR msg="app paused`); got != times {
		g.t.Errorf("%d alarms, want %d; log:\n%.3000s", got, times, g.log)
	}
	if got := strings.Count(g.log.String(), "level=ERROR"); got != times {
		g.t.Errorf("%d errors logged, want the alarms only:\n%.3000s", got, g.log)
	}
}

// mustHaveLeftTheRest checks that each receipt is either done or as it was
// before the run, and due.
func (g *regeneration) mustHaveLeftTheRest(customers int) {
	g.t.Helper()
	done := g.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND consecutive_failures = 0`)
	left := g.count(`SELECT count(*) FROM receipts WHERE state = 'new' AND last_error IS NULL AND last_code IS NULL
		AND last_checked_at IS NULL AND consecutive_failures = 0 AND claimed_until IS NULL
		AND next_check_at < now() + interval '1 minute'`)
	if done == 0 || left == 0 || done+left != customers {
		g.t.Errorf("%d done and %d left as they were, want %d together", done, left, customers)
	}
}

func (g *regeneration) mustBePaused() {
	g.t.Helper()
	if got := g.count(`SELECT count(*) FROM apps WHERE paused_code = '` + apps.PausedSecretRefused + `'`); got != 1 {
		g.t.Errorf("%d apps are paused for their secret, want 1", got)
	}
}

// await polls until something is true.
func (n *night) await(what string, isTrue func() bool) {
	n.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !isTrue() {
		select {
		case <-deadline.C:
			n.t.Fatalf("waited in vain for %s", what)
		case <-poll.C:
		}
	}
}

// regeneratedReceipts is how many receipts the tests of a regeneration run over:
// 1,500, or REVALIDATOR_TEST_REGENERATION_RECEIPTS.
func regeneratedReceipts(t *testing.T) int {
	t.Helper()
	return receiptsFrom(t, "REVALIDATOR_TEST_REGENERATION_RECEIPTS", 1500)
}

// TestRegenerationWithAnotherSecret has a good secret in the ring when the one
// in use dies.
func TestRegenerationWithAnotherSecret(t *testing.T) {
	t.Parallel()
	regenerated := regeneratedReceipts(t)
	for name, other := range map[string]struct{ app, secret string }{
		"new secret added before":  {readerApp, newSecret},
		"only the primary is left": {"", primarySecret},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRegeneration(t, regenerated, other.secret)
			// What Apple accepted before comes first, whatever is added.
			must(t, g.db.MarkSharedSecret(t.Context(), 1, true, g.start))
			g.addSecret(other.app, other.secret)
			stop := g.begin()
			run := g.run("first")
			stop()
			if run.Done != int64(regenerated) || run.Failed != 0 {
				t.Errorf("run: %+v; want all %d done", run, regenerated)
			}
			g.mustMatchTruth()
			g.mustHaveSpent()
			g.mustHaveAlarmed(0)
		})
	}
}

// TestRegenerationWithoutAnotherSecret pauses the app, and goes on by itself
// once the new secret was added; a wrong one does not help.
func TestRegenerationWithoutAnotherSecret(t *testing.T) {
	t.Parallel()
	regenerated := regeneratedReceipts(t)
	g := newRegeneration(t, regenerated, newSecret)
	stop := g.begin()
	defer stop()
	g.run("first")
	g.mustBePaused()
	g.mustHaveLeftTheRest(regenerated)
	g.mustHaveSpent()
	g.mustHaveAlarmed(1)

	g.addSecret(readerApp, strings.ToUpper(primarySecret))
	g.await("the wrong secret refused", func() bool {
		return g.count(`SELECT count(*) FROM shared_secrets WHERE state = 'refused'`) == 2
	})
	g.mustBePaused()
	g.addSecret(readerApp, newSecret)
	g.await("the app at work", func() bool { return g.count(`SELECT count(*) FROM apps WHERE paused_at IS NULL`) == 1 })
	second := g.run("second")
	if second.Failed != 0 {
		t.Errorf("run: %+v; want none failed", second)
	}
	g.mustMatchTruth()
	g.mustHaveAlarmed(1)
	if got := g.count(`SELECT count(*) FROM receipts WHERE state <> 'valid'`); got != 0 {
		t.Errorf("%d receipts are not valid", got)
	}
}

// TestNightlyRunWaitsForTheSecret has the new secret added half a minute after
// the regeneration, while the nightly run stands still for want of it: the same
// run goes on and ends in the truth.
func TestNightlyRunWaitsForTheSecret(t *testing.T) {
	t.Parallel()
	customers := receiptsFrom(t, "REVALIDATOR_TEST_REGENERATION_RECEIPTS", 600)
	g := newRegeneration(t, customers, newSecret)
	stop := g.begin()
	// One slot a day: a second run, a minute later, could take a part of the first.
	stopScheduler := g.beside(g.scheduler("nightly", g.start.Format("4 15 * * *")).Run)
	g.await("the app paused", func() bool { return g.count(`SELECT count(*) FROM apps WHERE paused_at IS NOT NULL`) == 1 })
	g.await("nothing in hand", func() bool {
		return g.count(`SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL`) == 0
	})
	g.skipped.Add(int64(30 * time.Second))
	g.addSecret(readerApp, newSecret)
	g.await("the first run finished", func() bool {
		return g.count(`SELECT count(*) FROM runs WHERE id = 1 AND state = 'finished'`) == 1
	})
	stopScheduler()
	stop()
	totals, err := g.db.RunTotals(t.Context(), 1)
	must(t, err)
	if totals.Done != int64(customers) || totals.Failed != 0 {
		t.Errorf("run: %+v; want all %d done in it", totals, customers)
	}
	g.mustMatchTruth()
	g.mustHaveAlarmed(1)
}

// TestRefusedAppHoldsNoOtherUp compares the calls for one app beside an app
// whose secret dies with those of a night of its own. Both nights are at the
// same time, so that a busy machine slows them alike, and slow enough to leave
// one idle. A stall may still hit one of them; of a fault all tries would tell.
func TestRefusedAppHoldsNoOtherUp(t *testing.T) {
	t.Parallel()
	const tries = 3
	for try := 1; ; try++ {
		alone, beside := pacesBesideARefusedApp(t)
		t.Logf("alone %.1f calls per second, beside the refused app %.1f", alone, beside)
		if beside >= 0.9*alone {
			return
		}
		if try == tries {
			t.Fatalf("%.1f calls per second beside a refused app, %.1f alone; want 0.9 of that at least", beside, alone)
		}
	}
}

func pacesBesideARefusedApp(t *testing.T) (alone, beside float64) {
	t.Helper()
	const (
		customers = 240
		rate      = 20.0
	)
	nights := make([]*night, 2)
	for i := range nights {
		nights[i] = newNight(t, applesim.Config{
			Seed: 12, Customers: customers,
			Apps: []applesim.App{applesim.NewApp(12, readerApp, true), applesim.NewApp(12, fitnessApp, true)},
		}, rate, 1)
	}
	_, err := nights[0].db.PauseApp(t.Context(), fitnessApp, "alone", nights[0].start)
	must(t, err)
	nights[1].sim.SetSecrets(fitnessApp, []string{newSecret})
	var both errgroup.Group
	for _, n := range nights {
		defer n.beside(n.worker().Run)()
		s := n.scheduler("first", "")
		run, err := s.Open(t.Context())
		must(t, err)
		both.Go(func() error {
			_, err := s.Feed(t.Context(), run)
			return err
		})
	}
	must(t, both.Wait())
	return nights[0].callsPerSecond(readerApp), nights[1].callsPerSecond(readerApp)
}

// callsPerSecond is the pace of the production calls of an app.
func (n *night) callsPerSecond(bundleID string) float64 {
	var first, last time.Time
	calls := 0.0
	for entry := range n.sim.Log(0) {
		if entry.BundleID != bundleID || entry.Environment != applesim.Production {
			continue
		}
		if first.IsZero() {
			first = entry.RealTime
		}
		last = entry.RealTime
		calls++
	}
	return calls / last.Sub(first).Seconds()
}

// logText is everything that was logged.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
