package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack/redistest"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/intake"
	"revalidator/internal/keyring"
	"revalidator/internal/ratelimit"
	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/jobs"
	"revalidator/repository"
	"revalidator/scheduler"
	"revalidator/worker"
)

// night is one App Store and one installation of the program. The clock of
// both stands still, so that what is due and what is true does not change
// while a test looks at it.
type night struct {
	t     *testing.T
	start time.Time
	// past is how far the clock was set forward, in nanoseconds.
	past  atomic.Int64
	sim   *applesim.Server
	apple *httptest.Server
	url   secret.Value
	db    *repository.DB
	redis redis.UniversalClient
	keys  *keyring.Ring
	// excludeOld has replies show the newest period of each subscription only, as
	// they do by default.
	excludeOld bool
}

// patience is longer than anything takes that a test waits for.
const patience = 4 * time.Minute

// newNight makes an App Store with customers and an installation that has their
// receipts, all due. Each app may make rate calls per second.
func newNight(t *testing.T, cfg applesim.Config, rate float64, burst int) *night {
	t.Helper()
	cfg.Start = time.Now().UTC().Truncate(time.Second)
	cfg.LatestReceipt = applesim.LatestEcho // signing each reply anew takes a millisecond
	cfg.LogSize = 100_000
	sim, err := applesim.New(cfg)
	must(t, err)
	n := &night{t: t, start: cfg.Start, sim: sim, apple: httptest.NewServer(sim.Handler())}
	t.Cleanup(n.apple.Close)
	n.url = repositorytest.URL(t)
	n.db = n.openDB()
	options, err := redis.ParseURL(redistest.Start(t))
	must(t, err)
	n.redis = redis.NewClient(options)
	t.Cleanup(func() { _ = n.redis.Close() })
	keyset, err := keyring.Generate()
	must(t, err)
	n.keys, err = keyring.Open(keyset)
	must(t, err)
	n.setUp(rate, burst)
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *night) openDB() *repository.DB {
	n.t.Helper()
	db, err := repository.Open(repository.Config{URL: n.url, ApplicationName: n.t.Name()})
	must(n.t, err)
	n.t.Cleanup(func() { _ = db.Close() })
	return db
}

// now is the clock of the installation.
func (n *night) now() time.Time { return n.start.Add(time.Duration(n.past.Load())) }

// setUp adds the apps with their secrets, and imports every receipt.
func (n *night) setUp(rate float64, burst int) {
	n.t.Helper()
	ctx := n.t.Context()
	known := map[string]bool{}
	for truth := range n.sim.Truth() {
		known[truth.BundleID] = true
	}
	for bundleID := range known {
		must(n.t, n.db.AddApp(ctx, apps.App{BundleID: bundleID, RatePerSecond: rate, Burst: burst, CreatedAt: n.start}))
		n.addSecret(bundleID, n.sim.Secrets(bundleID)[0])
	}
	var receipts, rejects bytes.Buffer
	must(n.t, n.sim.WriteReceipts(&receipts, ""))
	result, err := intake.Run(ctx, &receipts, intake.NDJSON, intake.Config{
		Store: n.db, HasApp: func(id string) bool { return known[id] }, Rejects: &rejects,
		Now: n.now,
	})
	must(n.t, err)
	if result.Rejected > 0 {
		n.t.Fatalf("import rejected %d of %d receipts: %s", result.Rejected, result.Lines, rejects.String())
	}
}

// addSecret adds a secret of an app, or a primary one where bundleID is empty.
func (n *night) addSecret(bundleID, text string) {
	n.t.Helper()
	value := secret.New(text)
	row := apps.SharedSecret{BundleID: bundleID, KeyID: n.keys.KeyID(), Fingerprint: n.keys.Fingerprint(value), CreatedAt: n.now()}
	_, err := n.db.AddSharedSecret(n.t.Context(), row, func(id int64) ([]byte, error) {
		row.ID = id
		return n.keys.Seal(value, row.Row())
	})
	must(n.t, err)
}

func (n *night) scheduler(name, cronSpec string) *scheduler.Scheduler {
	n.t.Helper()
	var schedule cron.Schedule
	if cronSpec != "" {
		parsed, err := cron.ParseStandard(cronSpec)
		must(n.t, err)
		schedule = parsed
	}
	db := n.openDB()
	s, err := scheduler.New(scheduler.Config{
		Store: db, Clocks: db, Queue: jobs.NewQueue(n.redis, 5*time.Minute), Owner: name, Budgets: n.limiter(),
		// A busy machine may come to the slot late.
		Schedule: schedule, CatchUp: time.Hour,
		Feed: scheduler.FeedConfig{Tick: 50 * time.Millisecond, Look: 100 * time.Millisecond, Ahead: 20 * time.Second},
		Now:  n.now,
	})
	must(n.t, err)
	return s
}

func (n *night) limiter() *ratelimit.Limiter {
	n.t.Helper()
	limiter, err := ratelimit.New(ratelimit.Config{Redis: n.redis, MaxWait: time.Minute})
	must(n.t, err)
	return limiter
}

func (n *night) worker() *worker.Worker {
	n.t.Helper()
	return n.workerWith(func(*worker.Config) {})
}

// workerWith is worker with some of it changed.
func (n *night) workerWith(change func(*worker.Config)) *worker.Worker {
	n.t.Helper()
	db := n.openDB()
	client, err := appstore.New(appstore.Config{
		ProductionURL: n.apple.URL + "/production/verifyReceipt", SandboxURL: n.apple.URL + "/sandbox/verifyReceipt",
		Now: n.now,
	})
	must(n.t, err)
	cfg := worker.Config{
		Store: db, AppStore: client, Limiter: n.limiter(), Keys: n.keys, Redis: n.redis, Clocks: db,
		Data:   func(id, size int64) appstore.Receipt { return db.ReceiptData(id, size) },
		Policy: iap.DefaultPolicy(),
		// The clock stands still, so that only a wait of nothing ever ends.
		Retry: worker.RetryPolicy{Base: time.Nanosecond, Max: time.Nanosecond, Limit: 20},
		Now:   n.now,

		ExcludeOldTransactions: n.excludeOld,
	}
	change(&cfg)
	w, err := worker.New(cfg)
	must(n.t, err)
	return w
}

// beside runs services until stop is called, which waits for their end. It is
// called at the end of the test at the latest, and so before Redis goes: asynq
// panics where it loses the client of a running server, and the panic would hide
// what failed.
func (n *night) beside(services ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(n.t.Context()))
	ended := make(chan error, len(services))
	for _, service := range services {
		go func() { ended <- service(ctx) }()
	}
	stop = sync.OnceFunc(func() {
		n.t.Helper()
		cancel()
		for range services {
			if err := <-ended; err != nil {
				n.t.Error(err)
			}
		}
	})
	n.t.Cleanup(stop)
	return stop
}

// run does one run and returns its totals.
func (n *night) run(name string) runs.Totals {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	s := n.scheduler(name, "")
	run, err := s.Open(ctx)
	must(n.t, err)
	totals, err := s.Feed(ctx, run)
	must(n.t, err)
	return totals
}

func (n *night) failures(run runs.Totals) string {
	n.t.Helper()
	counts, err := n.db.RunFailures(n.t.Context(), run.ID)
	must(n.t, err)
	return fmt.Sprint(counts)
}
