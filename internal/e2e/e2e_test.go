package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"revalidator/internal/applesim"
	"revalidator/internal/ledger"
)

// TestRunEndsInTheTruth runs a night over customers in every state while one
// answer in twenty is at fault, and a second one right after.
func TestRunEndsInTheTruth(t *testing.T) {
	t.Parallel()
	faults, err := applesim.ParseFaults("503=0.01,21005=0.01,reset=0.01,html=0.01,cut=0.005,empty=0.005")
	must(t, err)
	const customers = 5000
	n := newNight(t, applesim.Config{Seed: 7, Customers: customers, Faults: faults}, 5000, 1000)
	stop := n.beside(n.worker().Run)
	defer stop()

	first := n.run("first")
	if first.Due != customers || first.Done != customers || first.Failed != 0 {
		t.Errorf("first run: %d due, %d done, %d failed; want all %d done: %s", first.Due, first.Done, first.Failed, customers, n.failures(first))
	}
	if faulty := first.Calls - customers; faulty < customers/40 || faulty > customers/10 {
		t.Errorf("%d calls beyond one for each receipt: the faults did not take part as meant", faulty)
	}
	n.mustMatchTruth()
	if left := n.count(`SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL OR run_id IS NOT NULL OR state <> 'valid'`); left != 0 {
		t.Errorf("%d receipts are still claimed, in the run, or not valid", left)
	}

	events := n.count(`SELECT count(*) FROM subscription_events`)
	n.past.Add(int64(time.Millisecond)) // no two manual runs start at the same moment
	second := n.run("second")
	if second.Due != 0 || second.Done != 0 || second.Calls != 0 {
		t.Errorf("second run at once: %d due, %d done, %d calls; want nothing to do", second.Due, second.Done, second.Calls)
	}
	if again := n.count(`SELECT count(*) FROM subscription_events`); again != events {
		t.Errorf("the second run wrote %d events", again-events)
	}
}

// TestSchedulersAndWorkersSideBySide elects one run among two schedulers and
// shares it among three workers.
func TestSchedulersAndWorkersSideBySide(t *testing.T) {
	t.Parallel()
	const (
		customers = 2000
		rate      = 150.0
		burst     = 10
	)
	n := newNight(t, applesim.Config{Seed: 8, Customers: customers}, rate, burst)
	stop := n.beside(
		n.scheduler("one", "* * * * *").Run, n.scheduler("two", "* * * * *").Run,
		n.worker().Run, n.worker().Run, n.worker().Run,
	)
	n.awaitRun()
	stop()

	runs, err := n.db.LastRuns(t.Context(), 10)
	must(t, err)
	if len(runs) != 1 || runs[0].Kind != ledger.RunNightly {
		t.Fatalf("runs: %+v; want the one nightly run of the slot", runs)
	}
	if r := runs[0]; r.Due != customers || r.Done != customers || r.Calls != customers || r.Enqueued != customers || r.Failed != 0 {
		t.Errorf("totals: %+v; want %d due, enqueued, done and calls", r, customers)
	}
	n.mustMatchTruth()
	n.mustHaveAskedOnce(customers)
	n.mustKeepRate(rate, burst)
}

// awaitRun waits until the one run has finished.
func (n *night) awaitRun() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*time.Minute)
	defer cancel()
	for poll := time.NewTicker(50 * time.Millisecond); ; {
		runs, err := n.db.LastRuns(ctx, 1)
		if err == nil && len(runs) == 1 && runs[0].State == ledger.RunFinished {
			return
		}
		select {
		case <-ctx.Done():
			n.t.Fatal(errors.Join(errors.New("the run did not finish"), err))
		case <-poll.C:
		}
	}
}

// mustHaveAskedOnce reads the simulator's log.
func (n *night) mustHaveAskedOnce(receipts int) {
	n.t.Helper()
	asked := map[string]int{}
	for entry := range n.sim.Log(0) {
		asked[entry.ReceiptSHA256]++
	}
	twice := 0
	for _, times := range asked {
		if times > 1 {
			twice++
		}
	}
	if len(asked) != receipts || twice > 0 {
		n.t.Errorf("%d receipts were asked about, %d of them more than once; want %d, each once", len(asked), twice, receipts)
	}
}

// mustKeepRate looks at every window of the simulator's log, however long: it
// may hold the burst, and the calls that the rate allows for its length. From
// the limiter to the App Store a call is on its way for now more, now less
// time, which on a busy machine is some tenths of a second; a window may be
// that much shorter than the bookings that it shows.
func (n *night) mustKeepRate(rate float64, burst int) {
	n.t.Helper()
	const way = 750 * time.Millisecond
	times := map[string][]time.Time{}
	for entry := range n.sim.Log(0) {
		budget := entry.BundleID + "/" + entry.Environment
		times[budget] = append(times[budget], entry.RealTime)
	}
	for budget, asked := range times {
		lead := leadOf(asked, rate, burst)
		n.t.Logf("%s: %d calls, at most %s ahead of the rate", budget, len(asked), lead)
		if lead > way {
			n.t.Errorf("%s: %s ahead of the rate, want at most %s", budget, lead, way)
		}
	}
}

// leadOf is by how much the calls of any window are more than its burst and its
// rate allow, as the time in which the rate would allow them.
func leadOf(times []time.Time, rate float64, burst int) time.Duration {
	var lead, latest time.Duration
	for i, at := range times {
		// A window that starts with call i begins to count from here.
		start := at.Sub(times[0]) - time.Duration(float64(i)/rate*float64(time.Second))
		if i == 0 || start > latest {
			latest = start
		}
		lead = max(lead, latest-start-time.Duration(float64(burst)/rate*float64(time.Second)))
	}
	return lead
}
