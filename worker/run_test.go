package worker_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/dev/applesim"
	"revalidator/jobs"
	"revalidator/worker"
)

// TestRun does what is on both queues, and changes nothing when it is there
// again.
func TestRun(t *testing.T) {
	t.Parallel()
	const customers = 60
	s := newSite(t, customers, 1000)
	tasks := s.claim(customers)
	for i := range tasks {
		tasks[i].Large = i%5 == 0
	}
	s.enqueue(tasks)
	s.mustHoldNothingSecret("while the tasks wait")
	stop := s.start(s.worker())
	s.await("every receipt done", func() bool { return s.totals().Done == customers })
	first := s.state()
	if got := s.totals(); got.Failed != 0 || got.Calls != customers {
		t.Errorf("totals: %+v; want none failed and one call for each", got)
	}
	if got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND claimed_until IS NULL AND run_id IS NULL`); got != customers {
		t.Errorf("%d receipts are valid and free, want %d", got, customers)
	}
	calls := s.calls()

	s.await("an empty queue", s.idle)
	s.enqueue(tasks) // asynq forgets the id of a task that is done
	s.await("an empty queue again", s.idle)
	if diff := cmp.Diff(first, s.state()); diff != "" {
		t.Errorf("a second run of the same tasks changed something (-want +got)\n%s", diff)
	}
	if again := s.calls(); again != calls {
		t.Errorf("a second run of the same tasks asked Apple %d times", again-calls)
	}
	stop()
	s.mustHoldNothingSecret("after the run")
}

// TestResultsOfRetainedTasks looks at what finished tasks leave in Redis: a
// sentence each, and nothing that is secret.
func TestResultsOfRetainedTasks(t *testing.T) {
	t.Parallel()
	const customers = 20
	s := newSite(t, customers, 1000)
	tasks := s.claim(customers)
	must(t, jobs.NewQueue(s.redis, time.Minute).Retaining(time.Hour).Enqueue(t.Context(), tasks))
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	s.mustHoldNothingSecret("while tasks are retained")
	completed, err := s.inspector.ListCompletedTasks(jobs.QueueSmall, asynq.PageSize(customers))
	must(t, err)
	if len(completed) != customers {
		t.Fatalf("%d tasks are retained, want %d", len(completed), customers)
	}
	sentence := regexp.MustCompile(`^(active until|expired since|subscriptions: |no subscriptions, |billing|revoked).*; (next check .* UTC by|no next check:) [a-z ]+$`)
	for _, task := range completed {
		if !sentence.Match(task.Result) {
			t.Errorf("result of %s: %q, want %s", task.ID, task.Result, sentence)
		}
	}
}

// TestFailedChecksAreArchived has Apple fail: asynq's pages show as many failed tasks,
// each with the failure class, and no line of the log tells of each.
func TestFailedChecksAreArchived(t *testing.T) {
	t.Parallel()
	const customers = 3 // fewer than a breaker opens for
	s := newSite(t, customers, 1000)
	must(t, s.sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultCode, Status: 21005, Rate: 1}}))
	must(t, jobs.NewQueue(s.redis, time.Minute).Retaining(time.Hour).Enqueue(t.Context(), s.claim(customers)))
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	archived, err := s.inspector.ListArchivedTasks(jobs.QueueSmall)
	must(t, err)
	if len(archived) != customers {
		t.Fatalf("%d tasks are archived, want %d", len(archived), customers)
	}
	for _, task := range archived {
		if !strings.HasPrefix(task.LastErr, "failed, ") || !strings.Contains(task.LastErr, "(status 21005)") || task.LastErr != string(task.Result) {
			t.Errorf("error of %s: %q, and result %q; want the failure class", task.ID, task.LastErr, task.Result)
		}
	}
	if strings.Contains(s.log.String(), "Retry exhausted") {
		t.Errorf("logged:\n%s", s.log)
	}
	s.mustHoldNothingSecret("while failed tasks are archived")
}

// TestRunSetsForeignTasksAside has something on the queue that no release of
// the program put there.
func TestRunSetsForeignTasksAside(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1000)
	_, err := asynq.NewClientFromRedisClient(s.redis).EnqueueContext(t.Context(),
		asynq.NewTask(jobs.TypeVerify, []byte("what is this"), asynq.TaskID("foreign"), asynq.Queue(jobs.QueueSmall)))
	must(t, err)
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	archived, err := s.inspector.ListArchivedTasks(jobs.QueueSmall)
	must(t, err)
	if len(archived) != 1 || archived[0].ID != "foreign" || archived[0].Retried != 0 {
		t.Errorf("archived: %v, want the foreign task, tried once", archived)
	}
}

// TestRunDropsTasksOfAnotherInstallation has tasks on the queue that the former owner
// of Redis left there, for receipts and generations that this database has too.
func TestRunDropsTasksOfAnotherInstallation(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 1000)
	of := func(installation string) *jobs.Queue {
		return jobs.NewQueue(s.redis, time.Minute).Of(func() jobs.Owner { return jobs.Owner{Installation: installation} })
	}
	own := of("5e1f00000000")
	_, err := own.Epoch(t.Context())
	must(t, err)
	tasks := s.claim(2)
	must(t, own.Enqueue(t.Context(), tasks[:1]))
	must(t, of("77aa00000000").Enqueue(t.Context(), tasks[1:]))
	s.queue = own
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	if totals := s.totals(); totals.Done != 1 || s.claims() != 1 || s.calls() != 1 {
		t.Errorf("%d done, %d claims left, %d calls; want the own task done and the other one dropped", totals.Done, s.claims(), s.calls())
	}
	if !strings.Contains(s.log.String(), "task of another installation dropped") {
		t.Errorf("it is not logged:\n%s", s.log)
	}
}

// TestRunLeavesTasksOfTheNewOwner has Redis taken by another installation while a
// worker runs: it may not drop the other's tasks.
func TestRunLeavesTasksOfTheNewOwner(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1000)
	of := func(installation string) *jobs.Queue {
		return jobs.NewQueue(s.redis, time.Minute).Of(func() jobs.Owner { return jobs.Owner{Installation: installation} })
	}
	other := of("77aa00000000")
	_, err := other.Epoch(t.Context())
	must(t, err)
	must(t, other.Enqueue(t.Context(), []jobs.Verify{{ReceiptID: 1, Generation: 1, BundleID: bundleID}}))
	s.queue = of("5e1f00000000")
	stop := s.start(s.worker())
	s.await("the task to be run again by somebody else", func() bool { return s.queued() == queued{Retry: 1} })
	stop()
}

// TestRunStopsGracefully stops a worker that asks about one receipt while the
// others wait for their slots.
func TestRunStopsGracefully(t *testing.T) {
	t.Parallel()
	const customers = 12
	s := newSite(t, customers, 0.01)
	arrived, answer := s.holdApple()
	defer answer()
	s.enqueue(s.claim(customers))
	stop, ended := s.begin(s.worker())
	<-arrived
	s.await("all in hand", func() bool { return s.queued().Active == customers })
	s.mustHoldNothingSecret("while Apple is asked")

	stop()
	s.await("the waiting ones given back", func() bool { return s.claims() == 1 })
	select {
	case <-ended:
		t.Fatal("the worker left a receipt behind that it was asking about")
	default:
	}
	answer()
	<-ended

	if got := s.claims(); got != 0 {
		t.Errorf("%d receipts are still claimed", got)
	}
	if got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND run_id IS NULL AND last_checked_at IS NOT NULL`); got != 1 {
		t.Errorf("%d receipts were asked about, want the one in flight", got)
	}
	const untouched = `SELECT count(*) FROM receipts WHERE state = 'new' AND run_id IS NOT NULL
		AND next_check_rule = 'new' AND consecutive_failures = 0 AND last_checked_at IS NULL`
	if got := s.count(untouched); got != customers-1 {
		t.Errorf("%d receipts were given back to the run as they were, want %d", got, customers-1)
	}
	if totals := s.totals(); totals.Done != 1 || totals.Failed != 0 || totals.Calls != 1 {
		t.Errorf("totals: %+v; want one done with one call", totals)
	}
	if left := s.queued(); left != (queued{}) {
		t.Errorf("on the queue: %+v, want nothing", left)
	}
}

// TestServersStopSideBySide has a receipt of each queue asked about for longer than
// a shutdown may take: it takes as long for both as for one.
func TestServersStopSideBySide(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 1000)
	release := make(chan struct{})
	defer close(release)
	arrived := make(chan struct{})
	w := s.workerWith(func(c *worker.Config) {
		c.ShutdownTimeout = 2 * time.Second
		c.AppStore = stuckAppStore{arrived, release}
	})
	tasks := s.claim(2)
	tasks[1].Large = true
	s.enqueue(tasks)
	stop, ended := s.begin(w)
	<-arrived
	<-arrived
	stopped := time.Now()
	stop()
	<-ended
	if took := time.Since(stopped); took < 2*time.Second || took > 3800*time.Millisecond {
		t.Errorf("the shutdown took %v, want the 2 s that one server may take", took)
	}
}

// stuckAppStore is an Apple that answers nobody until it is released.
type stuckAppStore struct{ arrived, release chan struct{} }

func (a stuckAppStore) VerifyReceipt(context.Context, appstore.Request) (appstore.Answer, error) {
	a.arrived <- struct{}{}
	<-a.release
	return appstore.Answer{}, appstore.ErrTimeout
}

// TestRunAfterARestart has a receipt that was claimed anew while its old task
// was still on the queue.
func TestRunAfterARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1000)
	old := s.claim(1)
	_, err := s.db.ReleaseExpired(t.Context(), s.present.Add(time.Hour))
	must(t, err)
	s.enqueue(old)
	s.enqueue(s.claim(1))
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	if totals := s.totals(); totals.Done != 1 || totals.Enqueued != 2 {
		t.Errorf("totals: %+v; want one done of two claims", totals)
	}
	if got := s.calls(); got != 1 {
		t.Errorf("%d calls, want that of one task", got)
	}
}

// TestRunPausesTheApp has a secret that Apple refuses.
func TestRunPausesTheApp(t *testing.T) {
	t.Parallel()
	const customers = 20
	s := newSite(t, customers, 1000)
	s.sim.SetSecrets(bundleID, []string{"00000000000000000000000000000000"})
	s.enqueue(s.claim(customers))
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	allApps, err := s.db.Apps(t.Context())
	must(t, err)
	if allApps[0].PausedCode == nil || *allApps[0].PausedCode != apps.PausedSecretRefused {
		t.Errorf("app: %+v, want it paused for its secret", allApps[0])
	}
	if got := s.count(`SELECT count(*) FROM shared_secrets WHERE state = 'refused'`); got != 1 {
		t.Errorf("%d secrets are marked as refused, want one", got)
	}
	// Receipts without a subscription need no secret.
	if got := s.count(`SELECT count(*) FROM receipts WHERE state NOT IN ('new', 'valid') OR consecutive_failures > 0`); got != 0 {
		t.Errorf("%d receipts suffer for it", got)
	}
	s.mustHoldNothingSecret("after a pause")
}
