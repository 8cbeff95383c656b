package worker_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack/redistest"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/keyring"
	"revalidator/internal/quarantine"
	"revalidator/internal/ratelimit"
	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/jobs"
	"revalidator/repository"
	"revalidator/worker"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The Postgres of the tests ends with the program.
		goleak.IgnoreAnyFunction("revalidator/internal/dev/devstack.(*process).run"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"))
}

const bundleID = "com.example.reader"

// site is a simulated App Store and one installation that has the receipts of
// its customers. Both clocks stand still.
type site struct {
	t       *testing.T
	present time.Time
	sim     *applesim.Server
	apple   *httptest.Server
	hold    func()
	// proxy stands before the App Store, where it is not nil: it says whether it
	// has answered a request itself. It changes only while nobody asks.
	proxy     func(http.ResponseWriter, *http.Request) bool
	spoil     func(reply []byte) []byte // nil is not at all
	db        *repository.DB
	sql       *sql.DB
	redis     *redis.Client
	inspector *asynq.Inspector
	keys      *keyring.Ring
	run       runs.Run
	log       *logText
	queue     worker.Queue // of its workers
	// markers are pieces of what must not leave Postgres.
	markers map[string]string
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSite opens a run over the receipts of so many customers, whose app may
// make rate calls per second.
func newSite(t *testing.T, customers int, rate float64) *site {
	t.Helper()
	return newSiteIn(t, repositorytest.URL(t), customers, rate)
}

// newSiteIn is newSite in a database that is there already.
func newSiteIn(t *testing.T, url secret.Value, customers int, rate float64) *site {
	t.Helper()
	s := &site{t: t, present: time.Now().UTC().Truncate(time.Second), log: &logText{}, markers: map[string]string{}}
	s.openApple(customers)
	var err error
	s.db, err = repository.Open(repository.Config{URL: url, ApplicationName: t.Name(), QuarantineChanged: s.quarantineChanged})
	must(t, err)
	t.Cleanup(func() { _ = s.db.Close() })
	s.sql, err = sql.Open("postgres", url.Reveal())
	must(t, err)
	t.Cleanup(func() { _ = s.sql.Close() })
	options, err := redis.ParseURL(redistest.Start(t))
	must(t, err)
	s.redis = redis.NewClient(options)
	t.Cleanup(func() { _ = s.redis.Close() })
	s.inspector = asynq.NewInspectorFromRedisClient(s.redis)
	s.addApp(rate)
	s.addReceipts()
	s.run, err = s.db.OpenRun(t.Context(), runs.Run{
		Kind: runs.Manual, ScheduledFor: s.present, Cutoff: s.present, Deadline: s.present.Add(time.Hour),
	}, runs.Lease{Owner: "test", Until: s.present.Add(time.Hour)}, s.present)
	must(t, err)
	return s
}

// quarantineChanged logs as the program does.
func (s *site) quarantineChanged(c quarantine.Change) {
	fmt.Fprintf(s.log, "quarantining stopped=%t class=%s %d of %d\n", c.Stopped, c.Class, c.Accused, c.Checked)
}

func (s *site) openApple(customers int) {
	s.t.Helper()
	var err error
	mix := applesim.DefaultMix()
	mix.Sandbox = 0 // a receipt costs one call
	s.sim, err = applesim.New(applesim.Config{
		Seed: 3, Customers: customers, Mix: &mix, Start: s.present, LatestReceipt: applesim.LatestEcho,
		Apps: []applesim.App{applesim.NewApp(3, bundleID, true)},
	})
	must(s.t, err)
	s.hold = func() {}
	handler := s.sim.Handler()
	s.apple = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hold()
		if s.proxy != nil && s.proxy(w, r) {
			return
		}
		if s.spoil == nil {
			handler.ServeHTTP(w, r)
			return
		}
		reply := httptest.NewRecorder()
		handler.ServeHTTP(reply, r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.spoil(reply.Body.Bytes()))
	}))
	s.t.Cleanup(s.apple.Close)
}

// holdApple keeps every request from its answer until answer is called, which
// must be before the end of the test. It is to be called before any request.
func (s *site) holdApple() (arrived <-chan struct{}, answer func()) {
	met, end := make(chan struct{}, 100), make(chan struct{})
	s.hold = func() {
		met <- struct{}{}
		<-end
	}
	return met, sync.OnceFunc(func() { close(end) })
}

func (s *site) addApp(rate float64) {
	s.t.Helper()
	keyset, err := keyring.Generate()
	must(s.t, err)
	s.keys, err = keyring.Open(keyset)
	must(s.t, err)
	must(s.t, s.db.AddApp(s.t.Context(), apps.App{BundleID: bundleID, RatePerSecond: rate, Burst: 1, CreatedAt: s.present}))
	value := secret.New(s.sim.Secrets(bundleID)[0])
	s.markers["the shared secret"] = value.Reveal()
	row := apps.SharedSecret{BundleID: bundleID, KeyID: s.keys.KeyID(), Fingerprint: s.keys.Fingerprint(value), CreatedAt: s.present}
	_, err = s.db.AddSharedSecret(s.t.Context(), row, func(id int64) ([]byte, error) {
		row.ID = id
		return s.keys.Seal(value, row.Row())
	})
	must(s.t, err)
}

func (s *site) addReceipts() {
	s.t.Helper()
	var batch []iap.Receipt
	for r, err := range s.sim.Receipts() {
		must(s.t, err)
		kind := iap.KindAppReceipt
		if r.Style == applesim.StyleTransaction {
			kind = iap.KindTransactionReceipt
		}
		batch = append(batch, iap.Receipt{BundleID: r.BundleID, CustomerRef: r.CustomerRef, Kind: kind, Data: r.Data})
		middle := r.Data[len(r.Data)/2/3*3:][:24]
		s.markers["receipt bytes of "+r.CustomerRef] = string(middle)
		s.markers["receipt of "+r.CustomerRef+" in base64"] = base64.StdEncoding.EncodeToString(middle)
		s.markers["receipt of "+r.CustomerRef+" in hex"] = hex.EncodeToString(middle)
	}
	_, err := s.db.AddReceipts(s.t.Context(), batch, s.present)
	must(s.t, err)
}

// claim claims n receipts of the run and returns their tasks.
func (s *site) claim(n int) []jobs.Verify {
	s.t.Helper()
	claims, err := s.db.Claim(s.t.Context(), claim.Request{
		RunID: s.run.ID, Cutoff: s.run.Cutoff, Now: s.present, Until: s.present.Add(time.Minute), Ahead: 24 * time.Hour, Limit: n,
	})
	must(s.t, err)
	if len(claims) != n {
		s.t.Fatalf("claimed %d, want %d", len(claims), n)
	}
	tasks := make([]jobs.Verify, n)
	for i, c := range claims {
		tasks[i] = jobs.Verify{ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: s.run.ID, BundleID: c.BundleID}
	}
	return tasks
}

func (s *site) enqueue(tasks []jobs.Verify) {
	s.t.Helper()
	must(s.t, jobs.NewQueue(s.redis, time.Minute).Enqueue(s.t.Context(), tasks))
}

func (s *site) worker() *worker.Worker {
	s.t.Helper()
	return s.workerWith(func(*worker.Config) {})
}

func (s *site) workerWith(change func(*worker.Config)) *worker.Worker {
	s.t.Helper()
	client, err := appstore.New(appstore.Config{
		HTTPClient:    s.apple.Client(),
		ProductionURL: s.apple.URL + "/production/verifyReceipt", SandboxURL: s.apple.URL + "/sandbox/verifyReceipt",
		Now: s.now,
	})
	must(s.t, err)
	limiter, err := ratelimit.New(ratelimit.Config{Redis: s.redis, MaxWait: time.Hour})
	must(s.t, err)
	cfg := worker.Config{
		Store: s.db, AppStore: client, Limiter: limiter, Keys: s.keys, Redis: s.redis,
		Data:   func(id, size int64) appstore.Receipt { return s.db.ReceiptData(id, size) },
		Policy: iap.DefaultPolicy(), Concurrency: 32, ShowResults: true, Now: s.now, Queue: s.queue,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	change(&cfg)
	w, err := worker.New(cfg)
	must(s.t, err)
	return w
}

func (s *site) now() time.Time { return s.present }

// start lets a worker run until stop is called, which waits for its end.
func (s *site) start(w *worker.Worker) (stop func()) {
	cancel, ended := s.begin(w)
	return func() {
		cancel()
		<-ended
	}
}

// begin is start for a test that looks at the way in which a worker ends.
func (s *site) begin(w *worker.Worker) (cancel func(), ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	end := make(chan struct{})
	go func() {
		defer close(end)
		if err := w.Run(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-end
	})
	return cancel, end
}

// await polls until something is true.
func (s *site) await(what string, isTrue func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !isTrue() {
		select {
		case <-deadline.C:
			s.t.Fatalf("waited in vain for %s; on the queue: %+v; log:\n%s", what, s.queued(), s.log)
		case <-poll.C:
		}
	}
}

// queued is how many tasks are on both queues, by what becomes of them.
type queued struct{ Pending, Active, Retry int }

func (s *site) queued() queued {
	s.t.Helper()
	var q queued
	for _, name := range jobs.Queues() {
		info, err := s.inspector.GetQueueInfo(name)
		if err != nil {
			continue // nothing was ever on it
		}
		q.Pending += info.Pending
		q.Active += info.Active
		q.Retry += info.Retry
	}
	return q
}

func (s *site) idle() bool { return s.queued() == queued{} }

func (s *site) totals() runs.Totals {
	s.t.Helper()
	totals, err := s.db.RunTotals(s.t.Context(), s.run.ID)
	must(s.t, err)
	return totals
}

func (s *site) claims() int {
	s.t.Helper()
	n, err := s.db.ClaimedCount(s.t.Context())
	must(s.t, err)
	return n.Total()
}

// calls is how many requests the App Store got.
func (s *site) calls() int {
	n := 0
	for range s.sim.Log(0) {
		n++
	}
	return n
}

func (s *site) count(query string) int {
	s.t.Helper()
	var n int
	must(s.t, s.sql.QueryRowContext(s.t.Context(), query).Scan(&n))
	return n
}

// state is everything that a worker may write, table by table.
func (s *site) state() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, table := range []string{
		"apps", "shared_secrets", "receipts", "subscriptions", "receipt_subscriptions", "purchases", "subscription_events",
		"run_apps", "run_failures",
	} {
		var rows string
		query := fmt.Sprintf(`SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM %s r`, table)
		must(s.t, s.sql.QueryRowContext(s.t.Context(), query).Scan(&rows))
		all[table] = rows
	}
	return all
}

// mustHoldNothingSecret looks for the markers in every key and value of Redis,
// and in the log.
func (s *site) mustHoldNothingSecret(when string) {
	s.t.Helper()
	places := map[string]string{"Redis": s.redisText(), "the log": s.log.String()}
	if !strings.Contains(places["Redis"], bundleID) {
		s.t.Errorf("%s: Redis does not even hold the bundle id of a task or a budget: the search proves nothing", when)
	}
	for place, text := range places {
		for name, marker := range s.markers {
			if strings.Contains(text, marker) {
				s.t.Errorf("%s: %s holds %s", when, place, name)
			}
		}
	}
}

func (s *site) redisText() string {
	s.t.Helper()
	var text strings.Builder
	ctx := s.t.Context()
	for keys := s.redis.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		value, err := s.redisValue(ctx, key)
		must(s.t, err)
		fmt.Fprintln(&text, key, value)
	}
	return text.String()
}

func (s *site) redisValue(ctx context.Context, key string) (any, error) {
	kind, err := s.redis.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "string":
		return s.redis.Get(ctx, key).Result()
	case "list":
		return s.redis.LRange(ctx, key, 0, -1).Result()
	case "set":
		return s.redis.SMembers(ctx, key).Result()
	case "zset":
		return s.redis.ZRange(ctx, key, 0, -1).Result()
	case "hash":
		return s.redis.HGetAll(ctx, key).Result()
	case "none":
		return "", nil // gone since it was listed
	}
	return nil, fmt.Errorf("key %s is a %s, which is not searched", key, kind)
}
