package report

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
	"revalidator/repository"
)

// stores are what operations read, as a test wants them.
type stores struct {
	now     time.Time
	backlog repository.Backlog
	failing error
	reads   int
	hang    chan struct{} // until it is closed, nil is not at all
}

// queueOf is a queue of which nothing is asked but to be announced.
type queueOf struct {
	Queue
	stores *stores
}

func (q queueOf) Announce(context.Context) error {
	if q.stores.hang != nil {
		<-q.stores.hang
	}
	return nil
}

func (s *stores) operations(t *testing.T) *Operations {
	t.Helper()
	return NewOperations(OperationsConfig{
		Backlog: func(context.Context, int) (repository.Backlog, error) {
			s.reads++
			return s.backlog, s.failing
		},
		Queue: queueOf{stores: s}, Inspector: s, Limiter: s, Now: func() time.Time { return s.now },
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

func (s *stores) Servers() ([]*asynq.ServerInfo, error) { return nil, nil }

func (s *stores) GetQueueInfo(name string) (*asynq.QueueInfo, error) {
	return &asynq.QueueInfo{Queue: name, Pending: 3, Active: 2, Completed: 7, Latency: 1500 * time.Millisecond}, nil
}

func (s *stores) Impaired(context.Context) ([]ratelimit.State, error) {
	return []ratelimit.State{
		{Key: "com.example.fitness/verify_receipt:Sandbox", Share: 0.5},
		{Key: "com.example.reader/verify_receipt:Production", Share: 0.25, Open: true},
	}, nil
}

func TestOperations(t *testing.T) {
	t.Parallel()
	oldest := noon.Add(-time.Hour)
	s := &stores{now: noon, backlog: repository.Backlog{Due: 12, Oldest: &oldest, Claimed: 5, PausedApps: 1, StoppedApps: 2, Secret: &oldest}}
	want := `
		# HELP revalidator_breaker_open 1 while calls are held back because they fail; not there otherwise. Without a bundle id: for all apps, because Apple is failing. With a size: because a proxy refuses requests of that size.
		# TYPE revalidator_breaker_open gauge
		revalidator_breaker_open{bundle_id="com.example.reader",environment="Production",size="",source="verify_receipt"} 1
		# HELP revalidator_rate_share Part of the configured rate of an app that is in force, where that is less than 1 after signs of distress.
		# TYPE revalidator_rate_share gauge
		revalidator_rate_share{bundle_id="com.example.fitness",environment="Sandbox",size="",source="verify_receipt"} 0.5
		revalidator_rate_share{bundle_id="com.example.reader",environment="Production",size="",source="verify_receipt"} 0.25
		# HELP revalidator_claimed_receipts Receipts that are claimed for a worker.
		# TYPE revalidator_claimed_receipts gauge
		revalidator_claimed_receipts 5
		# HELP revalidator_due_oldest_seconds For how long the first of the due receipts has been due; 0 where there is none.
		# TYPE revalidator_due_oldest_seconds gauge
		revalidator_due_oldest_seconds 3600
		# HELP revalidator_due_receipts Receipts of enabled apps that are due and not claimed, counted up to 100000.
		# TYPE revalidator_due_receipts gauge
		revalidator_due_receipts 12
		# HELP revalidator_paused_apps Apps that are paused until they are resumed.
		# TYPE revalidator_paused_apps gauge
		revalidator_paused_apps 1
		# HELP revalidator_quarantine_stopped_apps Apps whose quarantining is stopped, because too many good receipts have the same failure.
		# TYPE revalidator_quarantine_stopped_apps gauge
		revalidator_quarantine_stopped_apps 2
		# HELP revalidator_unscheduled_subscriptions Live subscriptions past their expiry that no receipt is to be checked for, of the 5000 of each status that expired first: always 0.
		# TYPE revalidator_unscheduled_subscriptions gauge
		revalidator_unscheduled_subscriptions 0
		# HELP revalidator_queue_tasks Tasks on a queue, by state.
		# TYPE revalidator_queue_tasks gauge
		revalidator_queue_tasks{queue="receipts",state="active"} 2
		revalidator_queue_tasks{queue="receipts",state="archived"} 0
		revalidator_queue_tasks{queue="receipts",state="completed"} 7
		revalidator_queue_tasks{queue="receipts",state="pending"} 3
		revalidator_queue_tasks{queue="receipts",state="retry"} 0
		revalidator_queue_tasks{queue="receipts-large",state="active"} 2
		revalidator_queue_tasks{queue="receipts-large",state="archived"} 0
		revalidator_queue_tasks{queue="receipts-large",state="completed"} 7
		revalidator_queue_tasks{queue="receipts-large",state="pending"} 3
		revalidator_queue_tasks{queue="receipts-large",state="retry"} 0
		# HELP revalidator_queue_wait_seconds Age of the oldest task that waits on a queue.
		# TYPE revalidator_queue_wait_seconds gauge
		revalidator_queue_wait_seconds{queue="receipts"} 1.5
		revalidator_queue_wait_seconds{queue="receipts-large"} 1.5
		# HELP revalidator_secret_age_seconds Age of the newest shared secret of the app whose newest is the oldest; 0 where there is none.
		# TYPE revalidator_secret_age_seconds gauge
		revalidator_secret_age_seconds 3600
		# HELP revalidator_store_up Whether the figures of a store could be read: 1 or 0.
		# TYPE revalidator_store_up gauge
		revalidator_store_up{store="postgres"} 1
		revalidator_store_up{store="redis"} 1
	`
	if err := testutil.CollectAndCompare(s.operations(t), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestOperationsAreReadOnceInAWhile scrapes more often than that.
func TestOperationsAreReadOnceInAWhile(t *testing.T) {
	t.Parallel()
	s := &stores{now: noon}
	o := s.operations(t)
	for _, at := range []time.Duration{0, time.Second, operationsAge - 1} {
		s.now = noon.Add(at)
		testutil.CollectAndCount(o)
	}
	if s.reads != 1 {
		t.Errorf("read %d times within %s, want once", s.reads, operationsAge)
	}
	s.now = noon.Add(operationsAge)
	if testutil.CollectAndCount(o); s.reads != 2 {
		t.Errorf("read %d times after %s, want twice", s.reads, operationsAge)
	}
}

// TestOperationsWithoutAStore shows what there is, without a word of the store
// that does not answer.
func TestOperationsWithoutAStore(t *testing.T) {
	t.Parallel()
	s := &stores{now: noon, failing: errors.New("postgres is away")}
	o := s.operations(t)
	want := `
		# HELP revalidator_store_up Whether the figures of a store could be read: 1 or 0.
		# TYPE revalidator_store_up gauge
		revalidator_store_up{store="postgres"} 0
		revalidator_store_up{store="redis"} 1
	`
	if err := testutil.CollectAndCompare(o, strings.NewReader(want), "revalidator_store_up", "revalidator_due_receipts"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(o, "revalidator_queue_tasks"); n != 10 {
		t.Errorf("%d figures of the queues, want 10", n)
	}
}

// TestOperationsOfAStoreThatHangs does not hold the scrape up for long.
func TestOperationsOfAStoreThatHangs(t *testing.T) {
	t.Parallel()
	s := &stores{now: noon}
	end := make(chan struct{})
	defer close(end)
	s.hang = end
	o := s.operations(t)
	o.timeout = time.Millisecond
	if n := testutil.CollectAndCount(o, "revalidator_store_up", "revalidator_due_receipts"); n != 3 {
		t.Errorf("%d figures, want those of Postgres and that Redis is not up", n)
	}
}

func TestWrongClockMetric(t *testing.T) {
	t.Parallel()
	since := noon
	s := &stores{now: noon, backlog: repository.Backlog{WrongClocks: []clock.Endpoint{
		{Environment: iap.Sandbox, HeldSince: &since, Ahead: -90 * time.Minute},
	}}}
	want := `
		# HELP revalidator_clock_difference_seconds By how much Apple's time is ahead of the database's clock, while checks are held because that is wrong; not there otherwise.
		# TYPE revalidator_clock_difference_seconds gauge
		revalidator_clock_difference_seconds{environment="Sandbox"} -5400
	`
	if err := testutil.CollectAndCompare(s.operations(t), strings.NewReader(want), "revalidator_clock_difference_seconds"); err != nil {
		t.Error(err)
	}
}
