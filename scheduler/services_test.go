package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/dev/devstack/redistest"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/jobs"
	"revalidator/repository"
)

// noon is when the clock of every test here stands still, unless a test moves
// it. No lease ever runs out by itself.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// services is a real database with apps and due receipts, and a real queue.
type services struct {
	t     *testing.T
	url   secret.Value
	db    *repository.DB
	redis *redis.Client
	past  atomic.Int64 // how far the clock was set forward, in nanoseconds
	log   *logLines
	mu    sync.Mutex
	most  int // claims that were met at a time
}

func openServices(t *testing.T, allApps, receiptsEach int) *services {
	t.Helper()
	t.Parallel()
	s := &services{t: t, url: repositorytest.URL(t), log: &logLines{}}
	s.db = s.openDB()
	options, err := redis.ParseURL(redistest.Start(t))
	s.must(err)
	s.redis = redis.NewClient(options)
	t.Cleanup(func() { _ = s.redis.Close() })
	for i := range allApps {
		app := fmt.Sprintf("com.example.app%d", i)
		s.must(s.db.AddApp(t.Context(), apps.App{BundleID: app, RatePerSecond: 1000, Burst: 1, CreatedAt: noon}))
		batch := make([]iap.Receipt, receiptsEach)
		for j := range batch {
			batch[j] = iap.Receipt{BundleID: app, CustomerRef: fmt.Sprint(j), Kind: iap.KindAppReceipt, Data: fmt.Append(nil, app, j)}
		}
		_, err := s.db.AddReceipts(t.Context(), batch, noon)
		s.must(err)
	}
	return s
}

func (s *services) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *services) openDB() *repository.DB {
	s.t.Helper()
	db, err := repository.Open(repository.Config{URL: s.url, MaxConns: 4, ApplicationName: s.t.Name()})
	s.must(err)
	s.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *services) now() time.Time { return noon.Add(time.Duration(s.past.Load())) }

// scheduler is one process of several, with connections of its own.
func (s *services) scheduler(owner string, change func(*Config)) *Scheduler {
	s.t.Helper()
	cfg := Config{
		Store: s.openDB(), Queue: jobs.NewQueue(s.redis, time.Minute), Owner: owner,
		Feed: FeedConfig{Tick: 10 * time.Millisecond, Look: 10 * time.Millisecond, Tidy: 10 * time.Millisecond},
		Now:  s.now, Logger: slog.New(s.log),
	}
	if change != nil {
		change(&cfg)
	}
	return newScheduler(s.t, cfg)
}

// work does what is on the queue until the test ends: each receipt was asked
// about and is not due again for a day.
func (s *services) work() {
	s.t.Helper()
	server := asynq.NewServerFromRedisClient(s.redis, asynq.Config{
		Concurrency: 8, Queues: map[string]int{jobs.QueueSmall: 1, jobs.QueueLarge: 1},
		TaskCheckInterval: 20 * time.Millisecond, LogLevel: asynq.FatalLevel,
	})
	s.must(server.Start(asynq.HandlerFunc(s.handle)))
	s.t.Cleanup(server.Shutdown)
}

func (s *services) handle(ctx context.Context, task *asynq.Task) error {
	v, err := jobs.ParseVerify(task.Payload())
	if err != nil {
		return err
	}
	claims, err := s.db.ClaimedCount(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.most = max(s.most, claims.Total())
	s.mu.Unlock()
	_, err = s.db.SaveOutcomes(ctx, []claim.Outcome{{
		ReceiptID: v.ReceiptID, Generation: v.Generation, RunID: v.RunID, BundleID: v.BundleID, At: s.now(),
		Asked: true, Calls: 1, State: iap.ReceiptValid,
		NextCheck: iap.Check{At: s.now().Add(24 * time.Hour), Rule: iap.RuleRenewal},
	}})
	return err
}

// start runs a scheduler until stop is called, which waits for its end.
func (s *services) start(one *Scheduler) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- one.Run(ctx) }()
	return func() {
		s.t.Helper()
		cancel()
		s.must(<-ended)
	}
}

// awaitRuns waits until so many runs are there and have finished, and returns
// them, the newest first.
func (s *services) awaitRuns(n int) []runs.Totals {
	s.t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		lastRuns, err := s.db.LastRuns(s.t.Context(), 10)
		s.must(err)
		finished := 0
		for _, run := range lastRuns {
			if run.State == runs.Finished {
				finished++
			}
		}
		if finished == n {
			return lastRuns
		}
		select {
		case <-deadline.C:
			s.t.Fatalf("waited in vain for %d runs to finish: %+v, %v", n, lastRuns, s.log.at(slog.LevelError))
		case <-poll.C:
		}
	}
}

// figures are the totals of a run that tests compare.
type figures struct{ Due, Enqueued, Done, Calls int64 }

func figuresOf(t runs.Totals) figures { return figures{t.Counted(), t.Enqueued, t.Done, t.Calls} }

// TestSchedulersSideBySide opens one run for one slot and feeds it within the
// depth.
func TestSchedulersSideBySide(t *testing.T) {
	const (
		apps  = 3
		each  = 60
		depth = 20
	)
	s := openServices(t, apps, each)
	s.work()
	config := func(c *Config) { c.Schedule, c.CatchUp, c.Feed.Depth = schedule(t, "0 2 * * *"), 12*time.Hour, depth }
	first, second := s.start(s.scheduler("first", config)), s.start(s.scheduler("second", config))
	s.awaitRuns(1)
	s.past.Store(int64(14 * time.Hour)) // the next slot
	runs := s.awaitRuns(2)
	first()
	second()

	// The one that comes too late for a slot takes a number all the same.
	if len(runs) != 2 || runs[0].ID > 4 {
		t.Fatalf("runs: %+v; want two, and one number for each scheduler and slot", runs)
	}
	if diff := cmp.Diff(figures{apps * each, apps * each, apps * each, apps * each}, figuresOf(runs[1])); diff != "" {
		t.Errorf("totals of the first night (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(figures{}, figuresOf(runs[0])); diff != "" {
		t.Errorf("totals of the second night, with nothing due (-want +got)\n%s", diff)
	}
	if s.most > depth+apps || s.most < depth/2 {
		t.Errorf("up to %d claims at a time, want about %d and at most one more for each app", s.most, depth)
	}
	if got := s.log.at(slog.LevelError); got != nil {
		t.Errorf("errors logged: %v", got)
	}
}

// TestRunOfADeadSchedulerIsFinished has one that died between its claims and
// their tasks.
func TestRunOfADeadSchedulerIsFinished(t *testing.T) {
	const receipts = 50
	s := openServices(t, 1, receipts)
	s.work()
	dead := s.scheduler("dead", func(c *Config) { c.Feed.Depth = 20 })
	run, err := dead.Open(t.Context())
	s.must(err)
	claims, err := dead.claim(t.Context(), run, nil, nil, 20)
	s.must(err)
	if len(claims) != 20 {
		t.Fatalf("claimed %d, want 20", len(claims))
	}

	stop := s.start(s.scheduler("heir", nil))
	defer stop()
	s.past.Store(int64(time.Hour)) // both leases of the dead one end
	got := s.awaitRuns(1)[0]
	if diff := cmp.Diff(figures{receipts, receipts + 20, receipts, receipts}, figuresOf(got)); diff != "" {
		t.Errorf("totals (-want +got)\n%s", diff)
	}
	if _, err := dead.Feed(t.Context(), run); !errors.Is(err, runs.ErrLost) {
		t.Errorf("the dead one came back: got %v, want %v", err, runs.ErrLost)
	}
}

// TestEmptiedRedisLosesNothing empties Redis while a run's tasks are on the
// queue. The clock stands still, so that no lease could save them.
func TestEmptiedRedisLosesNothing(t *testing.T) {
	const receipts = 100
	s := openServices(t, 1, receipts)
	one := s.scheduler("one", nil)
	run, err := one.Open(t.Context())
	s.must(err)
	_, err = one.feedOnce(t.Context(), &feed{run: run, counted: make(chan struct{})})
	s.must(err)
	info, err := asynq.NewInspectorFromRedisClient(s.redis).GetQueueInfo(jobs.QueueSmall)
	s.must(err)
	if info.Pending != receipts {
		t.Fatalf("%d tasks on the queue, want %d", info.Pending, receipts)
	}
	s.must(s.redis.FlushAll(t.Context()).Err())

	s.work()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	totals, err := one.Feed(ctx, run)
	s.must(err)
	if diff := cmp.Diff(figures{receipts, 2 * receipts, receipts, receipts}, figuresOf(totals)); diff != "" {
		t.Errorf("totals (-want +got)\n%s", diff)
	}
}
