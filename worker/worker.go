// Package worker does what is due for one receipt: it loads the receipt, waits
// for the rate limiter, asks Apple, derives what the answer means and stores
// it. Which receipts are due is the scheduler's to say. Whatever Apple answers
// becomes state in Postgres; only faults of our own machinery are left to
// asynq's retries.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/pulse"
	"revalidator/jobs"
)

// Config says what a Worker works with. Durations and counts have defaults.
type Config struct {
	Store   Store
	Limiter Limiter
	Redis   redis.UniversalClient
	// AppStore is asked for apps whose source is verifyReceipt, with secrets that Keys
	// open. Data gives the bytes of a receipt. ExcludeOldTransactions asks for the
	// newest period of each subscription only.
	AppStore               AppStore
	Keys                   Keys
	Data                   func(id, size int64) appstore.Receipt
	ExcludeOldTransactions bool
	// Sources are others.
	Sources map[apps.Source]Source
	// Queue tells tasks of other installations; nil takes all tasks for its own.
	// Presence says that the worker is running; nil says nothing.
	Queue    Queue
	Presence Presence
	// Clocks shares what replies say of the time; nil shares nothing.
	Clocks ClockStore

	// Policy is when receipts are looked at, of apps without wishes of their own.
	Policy iap.Policy
	Retry  RetryPolicy

	// Concurrency is how many small receipts are in hand at a time, most of
	// them waiting for the limiter: 512. LargeConcurrency is the same for
	// receipts of the large queue: 4.
	Concurrency, LargeConcurrency int
	// MemoryBytes is how much memory the receipts in hand may take together,
	// of all queues, a quarter of it for what replies leave: 46 MiB.
	MemoryBytes int64
	// BatchSize and BatchDelay bound how many outcomes share a transaction,
	// and how long the first of them waits for company: 250 and 10 ms.
	BatchSize  int
	BatchDelay time.Duration
	// ShutdownTimeout is how long Run waits for receipts in hand: 70 s. It
	// must be longer than a call to Apple may take.
	ShutdownTimeout time.Duration

	// ShowResults leaves a sentence about the outcome on each task, which costs
	// a call to Redis. It is of use where tasks are retained.
	ShowResults bool

	// Now is the clock that all processes share. Dates is the clock that Apple's
	// dates are compared with, and that results are dated by: Now, unless the App
	// Store is simulated at another time. MeasureDates reads it again, at once;
	// nil where there is nothing to read.
	Now, Dates   func() time.Time
	MeasureDates func(context.Context) error
	// ClockTolerance is by how much the time of a reply may differ from Dates:
	// 10 min.
	ClockTolerance time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Worker serves the queues until it is stopped.
type Worker struct {
	cfg     Config
	sources map[apps.Source]Source
	secrets *verifyReceipt
	loader  *batcher[claim.Key, loaded]
	batch   *batcher[claim.Outcome, claim.Saved]
	memory  *memory
	metrics *metrics
	unknown *unknownFields
	clocks  *appleClocks
	writes  *writeGate
	// refusals is when a fault of ours was told last.
	refusals seldom
	// foreign is when a task of another installation was told last.
	foreign seldom
	loops   pulse.Loops
	// stopping ends as soon as Run is told to: receipts that only wait for the
	// limiter are given back then, instead of holding the shutdown up.
	stopping context.Context
	stop     context.CancelFunc
}

// New checks a Config and fills its defaults.
func New(cfg Config) (*Worker, error) {
	if cfg.Store == nil || cfg.AppStore == nil || cfg.Limiter == nil || cfg.Keys == nil || cfg.Data == nil || cfg.Redis == nil {
		return nil, errors.New("worker: store, app store, limiter, keys, data and redis are needed")
	}
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 512)
	cfg.LargeConcurrency = cmp.Or(cfg.LargeConcurrency, 4)
	cfg.MemoryBytes = cmp.Or(cfg.MemoryBytes, 46<<20)
	cfg.BatchSize = cmp.Or(cfg.BatchSize, 250)
	cfg.BatchDelay = cmp.Or(cfg.BatchDelay, 10*time.Millisecond)
	cfg.ShutdownTimeout = cmp.Or(cfg.ShutdownTimeout, 70*time.Second)
	cfg.ClockTolerance = cmp.Or(cfg.ClockTolerance, 10*time.Minute)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.Retry.fill()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dates == nil {
		cfg.Dates = cfg.Now
	}
	metrics, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	stopping, stop := context.WithCancel(context.Background())
	w := &Worker{
		cfg:      cfg,
		sources:  make(map[apps.Source]Source),
		batch:    newSaver(cfg.Store, cfg.BatchSize, cfg.BatchDelay),
		loader:   newLoader(cfg.Store),
		memory:   newMemory(cfg.MemoryBytes),
		metrics:  metrics,
		unknown:  newUnknownFields(cfg.Logger),
		clocks:   newAppleClocks(cfg),
		writes:   newWriteGate(cfg.Store, cfg.Logger),
		stopping: stopping,
		stop:     stop,
	}
	maps.Copy(w.sources, cfg.Sources)
	w.secrets = &verifyReceipt{
		ring: newRing(cfg.Store, cfg.Keys, cfg.Now, cfg.Logger), client: cfg.AppStore, data: cfg.Data, excludeOld: cfg.ExcludeOldTransactions,
	}
	w.sources[apps.SourceVerifyReceipt] = w.secrets
	w.batch.beat = func() { w.loops.Beat("save outcomes") }
	save := w.batch.do
	w.batch.do = func(ctx context.Context, outcomes []claim.Outcome) ([]claim.Saved, error) {
		saved, err := save(ctx, outcomes)
		w.writes.heard(err)
		return saved, err
	}
	return w, nil
}

// Alive fails where a loop of Run does not move any more. An outage of Postgres
// or Redis does not make it fail.
func (w *Worker) Alive(ctx context.Context) error { return w.loops.Check(ctx) }

// Run serves the queues until ctx ends, then finishes or gives back what is in
// hand and returns. Its error is one of starting up, or jobs.ErrNotOwner once the
// queue belongs to another installation; whatever else goes wrong later is logged
// and tried again. A Worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	defer w.stop()
	present, ctx := errgroup.WithContext(ctx)
	defer func() { _ = present.Wait() }()
	defer w.share(ctx)()
	w.writes.look(ctx) // before the first task
	present.Go(func() error {
		w.writes.watch(ctx, func() { w.loops.Beat("ask whether the database may be written") })
		return nil
	})

	var running []*asynq.Server
	defer func() { shutdown(running) }()
	for queue, concurrency := range map[string]int{jobs.QueueSmall: w.cfg.Concurrency, jobs.QueueLarge: w.cfg.LargeConcurrency} {
		server := w.server(queue, concurrency)
		if err := server.Start(asynq.HandlerFunc(w.Handle)); err != nil {
			w.stop()
			return fmt.Errorf("start worker: %w", err)
		}
		running = append(running, server)
	}
	if w.cfg.Presence != nil {
		present.Go(func() error { return w.cfg.Presence.Run(ctx) })
	}
	w.revive(ctx)
	for _, server := range running {
		server.Stop()
	}
	w.stop()
	return present.Wait()
}

// shutdown ends servers side by side: together they take no longer than one may,
// which is what whoever stops the process waits for.
func shutdown(servers []*asynq.Server) {
	var group sync.WaitGroup
	for _, server := range servers {
		group.Go(server.Shutdown)
	}
	group.Wait()
}

// share lets receipts be loaded and stored in batches, until it is told to stop:
// longer than ctx, for what is in hand then.
func (w *Worker) share(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { w.loader.run(ctx) })
	group.Go(func() { w.batch.run(ctx) })
	return func() {
		cancel()
		group.Wait()
	}
}

// server serves one queue. Each lane has a server of its own, because asynq's
// limit on concurrency is one per server.
func (w *Worker) server(queue string, concurrency int) *asynq.Server {
	return asynq.NewServerFromRedisClient(w.cfg.Redis, asynq.Config{
		Concurrency:     concurrency,
		Queues:          map[string]int{queue: 1},
		ShutdownTimeout: w.cfg.ShutdownTimeout,
		// An idle worker should find the first tasks of a run soon.
		TaskCheckInterval: 200 * time.Millisecond,
		// A worker that died, or a database that may not be written, is no fault of
		// the receipt's: its task is not archived for it.
		IsFailure: func(err error) bool {
			return !errors.Is(err, asynq.ErrLeaseExpired) && !errors.Is(err, database.ErrNotWritable)
		},
		RetryDelayFunc: func(n int, _ error, _ *asynq.Task) time.Duration { return time.Duration(n+1) * 5 * time.Second },
		Logger:         queueLog{w.cfg.Logger},
		LogLevel:       asynq.WarnLevel,
	})
}
