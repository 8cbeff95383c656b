package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/runs"
	"revalidator/worker"
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
	if first.Counted() != customers || first.Done != customers || first.Failed != 0 {
		t.Errorf("first run: %d due, %d done, %d failed; want all %d done: %s", first.Counted(), first.Done, first.Failed, customers, n.failures(first))
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
	if second.Counted() != 0 || second.Done != 0 || second.Calls != 0 {
		t.Errorf("second run at once: %d due, %d done, %d calls; want nothing to do", second.Counted(), second.Done, second.Calls)
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
	asked := &firstAsked{at: map[string]time.Time{}}
	watch := func(c *worker.Config) { c.Limiter = watchedLimiter{c.Limiter, asked} }
	stalls := watchStalls(t)
	stop := n.beside(
		n.scheduler("one", "* * * * *").Run, n.scheduler("two", "* * * * *").Run,
		n.workerWith(watch).Run, n.workerWith(watch).Run, n.workerWith(watch).Run,
	)
	n.awaitRun()
	stop()

	lastRuns, err := n.db.LastRuns(t.Context(), 10)
	must(t, err)
	if len(lastRuns) != 1 || lastRuns[0].Kind != runs.Nightly {
		t.Fatalf("runs: %+v; want the one nightly run of the slot", lastRuns)
	}
	if r := lastRuns[0]; r.Counted() != customers || r.Done != customers || r.Calls != customers || r.Enqueued != customers || r.Failed != 0 {
		t.Errorf("totals: %+v; want %d due, enqueued, done and calls", r, customers)
	}
	n.mustMatchTruth()
	n.mustHaveAskedOnce(customers)
	n.mustKeepRate(rate, burst, asked.at, stalls())
}

// awaitRun waits until the one run has finished.
func (n *night) awaitRun() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	for poll := time.NewTicker(50 * time.Millisecond); ; {
		lastRuns, err := n.db.LastRuns(ctx, 1)
		if err == nil && len(lastRuns) == 1 && lastRuns[0].State == runs.Finished {
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
