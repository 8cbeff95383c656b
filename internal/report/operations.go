package report

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"revalidator/internal/apps"
	"revalidator/jobs"
	"revalidator/repository"
)

const (
	// operationsAge is for how long figures are good: however many scrape, a
	// process asks no more often.
	operationsAge = 5 * time.Second
	// operationsTimeout is shorter than a scrape waits, so that a store that
	// hangs does not hide what this process counts itself.
	operationsTimeout = 3 * time.Second
	// dueCounted bounds what counting costs Postgres.
	dueCounted = 100_000
)

// Operations collects what an operator looks at first. They are figures of the
// stores: each process shows the same ones, so an alert takes their maximum and
// not their sum. What could not be read is left out.
type Operations struct {
	cfg     OperationsConfig
	timeout time.Duration

	up, tasks, waiting, due, oldest, claimed, paused, stopped, unscheduled, secret, open, share, clock *prometheus.Desc

	// reads are those that go on.
	reads sync.WaitGroup

	mu     sync.Mutex
	readAt time.Time
	last   []prometheus.Metric
}

// OperationsConfig is where the figures come from.
type OperationsConfig struct {
	Backlog   func(ctx context.Context, dueCounted int) (repository.Backlog, error)
	Queue     Queue
	Inspector Inspector
	Limiter   Limiter
	Now       func() time.Time
	Logger    *slog.Logger
}

// NewOperations makes the collector.
func NewOperations(cfg OperationsConfig) *Operations {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("revalidator_"+name, help, labels, nil)
	}
	return &Operations{
		cfg: cfg, timeout: operationsTimeout,

		up:          desc("store_up", "Whether the figures of a store could be read: 1 or 0.", "store"),
		tasks:       desc("queue_tasks", "Tasks on a queue, by state.", "queue", "state"),
		waiting:     desc("queue_wait_seconds", "Age of the oldest task that waits on a queue.", "queue"),
		due:         desc("due_receipts", "Receipts of enabled apps that are due and not claimed, counted up to 100000."),
		oldest:      desc("due_oldest_seconds", "For how long the first of the due receipts has been due; 0 where there is none."),
		claimed:     desc("claimed_receipts", "Receipts that are claimed for a worker."),
		paused:      desc("paused_apps", "Apps that are paused until they are resumed."),
		stopped:     desc("quarantine_stopped_apps", "Apps whose quarantining is stopped, because too many good receipts have the same failure."),
		unscheduled: desc("unscheduled_subscriptions", "Live subscriptions past their expiry that no receipt is to be checked for, of the 5000 of each status that expired first: always 0."),
		open:        desc("breaker_open", "1 while calls are held back because they fail; not there otherwise. Without a bundle id: for all apps, because Apple is failing. With a size: because a proxy refuses requests of that size.", "bundle_id", "source", "environment", "size"),
		share:       desc("rate_share", "Part of the configured rate of an app that is in force, where that is less than 1 after signs of distress.", "bundle_id", "source", "environment", "size"),
		clock:       desc("clock_difference_seconds", "By how much Apple's time is ahead of the database's clock, while checks are held because that is wrong; not there otherwise.", "environment"),
		secret:      desc("secret_age_seconds", "Age of the newest shared secret of the app whose newest is the oldest; 0 where there is none."),
	}
}

// Wait returns when no read goes on any more, for the owner of the stores.
func (o *Operations) Wait() { o.reads.Wait() }

// Describe implements prometheus.Collector.
func (o *Operations) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		o.up, o.tasks, o.waiting, o.due, o.oldest, o.claimed, o.paused, o.stopped, o.unscheduled, o.secret, o.open, o.share, o.clock,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (o *Operations) Collect(out chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.cfg.Now(); o.last == nil || now.Sub(o.readAt).Abs() >= operationsAge {
		o.last, o.readAt = o.read(), now
	}
	for _, m := range o.last {
		out <- m
	}
}

func (o *Operations) read() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	postgres := o.beside(ctx, "postgres", o.readBacklog)
	redis := o.beside(ctx, "redis", o.readQueues)
	return append(o.await(ctx, "postgres", postgres), o.await(ctx, "redis", redis)...)
}

// beside reads a store. Not every client looks at its context; one that does
// not ends by its own timeout, or when the store is closed, and nobody listens any
// more.
func (o *Operations) beside(ctx context.Context, store string, read func(context.Context) ([]prometheus.Metric, error)) <-chan []prometheus.Metric {
	done := make(chan []prometheus.Metric, 1)
	o.reads.Go(func() {
		metrics, err := read(ctx)
		if err != nil {
			o.cfg.Logger.Warn("read figures for metrics", "store", store, "error", err)
			metrics = []prometheus.Metric{gauge(o.up, 0, store)}
		}
		done <- metrics
	})
	return done
}

func (o *Operations) await(ctx context.Context, store string, done <-chan []prometheus.Metric) []prometheus.Metric {
	select {
	case metrics := <-done:
		return metrics
	case <-ctx.Done():
		return []prometheus.Metric{gauge(o.up, 0, store)}
	}
}

func (o *Operations) readBacklog(ctx context.Context) ([]prometheus.Metric, error) {
	b, err := o.cfg.Backlog(ctx, dueCounted)
	if err != nil {
		return nil, err
	}
	since := func(t *time.Time) float64 {
		if t == nil {
			return 0
		}
		return o.cfg.Now().Sub(*t).Seconds()
	}
	metrics := []prometheus.Metric{
		gauge(o.up, 1, "postgres"),
		gauge(o.due, float64(b.Due)), gauge(o.oldest, since(b.Oldest)),
		gauge(o.claimed, float64(b.Claimed)), gauge(o.paused, float64(b.PausedApps)),
		gauge(o.stopped, float64(b.StoppedApps)),
		gauge(o.unscheduled, float64(b.Unscheduled)),
		gauge(o.secret, since(b.Secret)),
	}
	for _, c := range b.WrongClocks {
		metrics = append(metrics, gauge(o.clock, c.Ahead.Seconds(), string(c.Environment)))
	}
	return metrics, nil
}

// readQueues finds no queue until it is announced.
func (o *Operations) readQueues(ctx context.Context) ([]prometheus.Metric, error) {
	if err := o.cfg.Queue.Announce(ctx); err != nil {
		return nil, err
	}
	metrics := []prometheus.Metric{gauge(o.up, 1, "redis")}
	for _, name := range jobs.Queues() {
		q, err := o.cfg.Inspector.GetQueueInfo(name)
		if err != nil {
			return nil, fmt.Errorf("read queue %s: %w", name, err)
		}
		metrics = append(metrics, gauge(o.waiting, q.Latency.Seconds(), q.Queue))
		for state, n := range map[string]int{
			"pending": q.Pending, "active": q.Active, "retry": q.Retry, "archived": q.Archived, "completed": q.Completed,
		} {
			metrics = append(metrics, gauge(o.tasks, float64(n), q.Queue, state))
		}
	}
	impaired, err := o.cfg.Limiter.Impaired(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range impaired {
		b := apps.ParseBudget(s.Key)
		labels := []string{b.BundleID, string(b.Source), string(b.Environment), b.Size}
		if s.Share < 1 {
			metrics = append(metrics, gauge(o.share, s.Share, labels...))
		}
		if s.Open {
			metrics = append(metrics, gauge(o.open, 1, labels...))
		}
	}
	return metrics, nil
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
