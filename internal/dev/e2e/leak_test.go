package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
	"revalidator/internal/runs"
	"revalidator/internal/web"
	"revalidator/jobs"
	"revalidator/worker"
)

// panics is an App Store client that panics with all it was given.
type panics struct{}

func (panics) VerifyReceipt(_ context.Context, r appstore.Request) (appstore.Answer, error) {
	panic(fmt.Sprintf("%+v %#v %s", r, r, r.Password))
}

// TestNothingSecretLeaves runs nights with every kind of fault, panics and a
// dead secret, logs all there is, and looks for secrets and receipts wherever
// something is written or shown.
func TestNothingSecretLeaves(t *testing.T) {
	t.Parallel()
	faults, err := applesim.ParseFaults("503=0.05,21005=0.05,21002=0.02,reset=0.03,html=0.05,cut=0.05,empty=0.03")
	must(t, err)
	n := newNight(t, applesim.Config{
		Seed: 13, Customers: 200, Faults: faults, Apps: []applesim.App{applesim.NewApp(13, readerApp, true)},
	}, 1000, 100)
	markers, err := n.judge().Markers([]string{readerApp}, newSecret)
	must(t, err)
	log, reg := &logText{}, prometheus.NewRegistry()
	watch := func(c *worker.Config) {
		c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.ShowResults = true
	}
	n.enqueueForeign()
	panicked := n.panicked(watch)
	stop := n.beside(n.workerWith(func(c *worker.Config) { watch(c); c.Registerer = reg }).Run)
	defer stop()
	n.run("with faults")
	must(t, n.sim.SetFaults(nil))
	n.sim.SetSecrets(readerApp, []string{newSecret})
	n.addSecret("", "no secret of this app at all, and much too long")
	n.past.Add(int64(10 * time.Second)) // the ring is read again
	n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
	n.run("with dead secrets")

	places := map[string]string{
		"Redis and the pages after panics": panicked,
		"the log":                          log.String(), "Redis": n.redisText(), "the metrics": n.pages(reg, "/metrics"),
		"the web pages": n.pages(reg, "/api/queues", "/api/queues/receipts/completed_tasks", "/api/queues/receipts/retry_tasks",
			"/api/queues/receipts/archived_tasks", "/api/queues/receipts/active_tasks", "/api/redis_info"),
	}
	tables, err := n.judge().PostgresText(t.Context())
	must(t, err)
	maps.Copy(places, tables)
	for place, want := range map[string]string{
		"the log": "panic", "Redis and the pages after panics": "panicked", "Redis": readerApp, "the metrics": "revalidator_app_pauses_total", "the web pages": "foreign",
		"receipts": `"customer_ref"`,
	} {
		if !strings.Contains(places[place], want) {
			t.Errorf("%s: no %q there: the search proves nothing", place, want)
		}
	}
	for _, leak := range judge.Leaks(markers, places) {
		t.Error(leak)
	}
}

// panicked has a worker panic over some receipts, and returns what Redis and the
// pages hold of their tasks then.
func (n *night) panicked(watch func(*worker.Config)) string {
	n.t.Helper()
	const receipts = 5
	ctx := n.t.Context()
	run, err := n.scheduler("panics", "").Open(ctx)
	must(n.t, err)
	claims, err := n.db.Claim(ctx, claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: n.now(), Until: n.now().Add(time.Minute), Ahead: time.Minute, Limit: receipts,
	})
	must(n.t, err)
	var tasks []jobs.Verify
	for _, c := range claims {
		tasks = append(tasks, jobs.Verify{ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID})
	}
	must(n.t, jobs.NewQueue(n.redis, time.Minute).Retaining(time.Hour).Enqueue(ctx, tasks))
	stop := n.beside(n.workerWith(func(c *worker.Config) { watch(c); c.AppStore = panics{} }).Run)
	inspector := asynq.NewInspectorFromRedisClient(n.redis)
	n.await("tasks that ended with a panic", func() bool {
		info, err := inspector.GetQueueInfo(jobs.QueueSmall)
		return err == nil && info.Archived == receipts+1 // and the foreign one
	})
	stop()
	_, err = n.db.EndRun(ctx, run.ID, runs.Cancelled, n.now())
	must(n.t, err)
	n.past.Add(int64(time.Minute)) // no two manual runs start at the same moment
	return n.redisText() + n.pages(prometheus.NewRegistry(), "/api/queues/receipts/archived_tasks")
}

// enqueueForeign has something on the queue that is archived at once.
func (n *night) enqueueForeign() {
	n.t.Helper()
	_, err := asynq.NewClientFromRedisClient(n.redis).EnqueueContext(n.t.Context(),
		asynq.NewTask(jobs.TypeVerify, []byte("what is this"), asynq.TaskID("foreign"), asynq.Queue(jobs.QueueSmall)))
	must(n.t, err)
}

func (n *night) exec(statement string, args ...any) {
	n.t.Helper()
	db, err := sql.Open("postgres", n.url.Reveal())
	must(n.t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(n.t.Context(), statement, args...)
	must(n.t, err)
}

// pages is what the web pages show.
func (n *night) pages(gatherer prometheus.Gatherer, paths ...string) string {
	n.t.Helper()
	pages, err := web.New(web.Config{Addr: "127.0.0.1:0", Redis: n.redis, Gatherer: gatherer, Logger: slog.New(slog.DiscardHandler)})
	must(n.t, err)
	var text strings.Builder
	for _, path := range paths {
		w := httptest.NewRecorder()
		pages.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
		if w.Code != http.StatusOK {
			n.t.Errorf("%s: HTTP %d", path, w.Code)
		}
		text.Write(w.Body.Bytes())
	}
	return text.String()
}

// redisText is every key and value of Redis.
func (n *night) redisText() string {
	n.t.Helper()
	text, err := judge.RedisText(n.t.Context(), n.redis)
	must(n.t, err)
	return text
}
