package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

const queue = "receipts"

// busyQueue is a Redis with a task in each of the states that the pages list.
func busyQueue(t *testing.T) redis.UniversalClient {
	t.Helper()
	options, err := redis.ParseURL(redistest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	work(t, client)
	tasks := asynq.NewClientFromRedisClient(client)
	for id, option := range map[string]asynq.Option{
		"pending":   asynq.MaxRetry(1),
		"scheduled": asynq.ProcessIn(time.Hour),
	} {
		enqueue(t, tasks, id, option)
	}
	return client
}

func enqueue(t *testing.T, tasks *asynq.Client, id string, options ...asynq.Option) {
	t.Helper()
	payload := []byte(`{"id":1}` + strings.Repeat("x", 1000))
	options = append(options, asynq.TaskID(id), asynq.Queue(queue))
	if _, err := tasks.Enqueue(asynq.NewTask("receipt:verify", payload), options...); err != nil {
		t.Fatal(err)
	}
}

// work runs a server until each of its tasks has come to its end, and leaves it
// running with one that has none.
func work(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	tasks := asynq.NewClientFromRedisClient(client)
	enqueue(t, tasks, "active")
	enqueue(t, tasks, "completed", asynq.Retention(time.Hour))
	enqueue(t, tasks, "retry", asynq.MaxRetry(3))
	enqueue(t, tasks, "archived", asynq.MaxRetry(0))
	server := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency:     4,
		Queues:          map[string]int{queue: 1},
		ShutdownTimeout: time.Millisecond,
		LogLevel:        asynq.FatalLevel,
		RetryDelayFunc:  func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
	handle := func(ctx context.Context, task *asynq.Task) error {
		switch id, _ := asynq.GetTaskID(ctx); id {
		case "active":
			<-ctx.Done()
			return ctx.Err()
		case "completed":
			_, err := task.ResultWriter().Write([]byte("done"))
			return err
		default:
			return errors.New("made to fail")
		}
	}
	if err := server.Start(asynq.HandlerFunc(handle)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	inspector := asynq.NewInspectorFromRedisClient(client)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		info, err := inspector.GetQueueInfo(queue)
		if err == nil && info.Active == 1 && info.Completed == 1 && info.Retry == 1 && info.Archived == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("tasks did not come to their ends: %+v, %v", info, err)
		}
	}
	if err := inspector.PauseQueue(queue); err != nil { // so that what follows stays pending
		t.Fatal(err)
	}
}

func TestQueuePages(t *testing.T) {
	t.Parallel()
	client := busyQueue(t)
	for _, root := range []string{"", "/", "/ops/queue", "/ops/queue/"} {
		t.Run("path "+root, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Redis, c.Path = client, root
			c.Scheduled = func() Scheduled {
				return Scheduled{Spec: "0 2 * * * (UTC)", Task: "nightly run", Next: time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)}
			}
			c.Describe = func(taskType string, payload []byte) string {
				if taskType != "receipt:verify" || !strings.HasPrefix(string(payload), `{"id":1}`) {
					return ""
				}
				return "receipt 1"
			}
			handler, prefix := newServer(t, c).Handler(), strings.TrimSuffix(root, "/")
			checkAPI(t, handler, prefix)
			checkPages(t, handler, prefix)
		})
	}
}

// checkAPI asks everything that asynq's pages ask.
func checkAPI(t *testing.T, handler http.Handler, prefix string) {
	t.Helper()
	for path, want := range map[string]string{
		"/queues":                                       `"queue":"receipts"`,
		"/queues/receipts":                              `"paused":true`,
		"/queue_stats":                                  `"receipts":[`,
		"/queues/receipts/active_tasks":                 `"id":"active"`,
		"/queues/receipts/tasks/completed":              `"payload":"receipt 1"`,
		"/queues/receipts/pending_tasks":                `"id":"pending"`,
		"/queues/receipts/scheduled_tasks":              `"id":"scheduled"`,
		"/queues/receipts/retry_tasks":                  `"id":"retry"`,
		"/queues/receipts/archived_tasks":               `"error_message":"made to fail"`,
		"/queues/receipts/completed_tasks":              `"result":"done"`,
		"/queues/receipts/groups":                       `"groups":[]`,
		"/queues/receipts/tasks/retry":                  `"error_message":"made to fail"`,
		"/queues/receipts/pending_tasks?page=1&size=20": `"id":"pending"`,
		"/servers":           `"servers":[`,
		"/scheduler_entries": `"next_enqueue_at":"2026-03-02T02:00:00Z"`,
		"/scheduler_entries/nightly/enqueue_events": `"events":[]`,
		"/redis_info": `"raw_info":`,
	} {
		got := ask(t, handler, "GET", prefix+"/api"+path)
		body := got.Body.String()
		if got.Code != http.StatusOK || !strings.Contains(body, want) || !json.Valid([]byte(body)) {
			t.Errorf("%s: got %d and %.300s, want 200 and %s", path, got.Code, body, want)
		}
		if strings.Contains(body, strings.Repeat("x", mostShown+1)) {
			t.Errorf("%s shows a payload at length", path)
		}
	}
}

// checkPages opens pages as a browser does, and what they load.
func checkPages(t *testing.T, handler http.Handler, prefix string) {
	t.Helper()
	for _, path := range []string{"/", "/queues/receipts", "/servers", "/redis"} {
		got := ask(t, handler, "GET", prefix+path)
		if want := `src="` + prefix + `/static/js/main.`; got.Code != http.StatusOK || !strings.Contains(got.Body.String(), want) {
			t.Errorf("page %s: got %d, want 200 and %s in it", path, got.Code, want)
		}
	}
	home := ask(t, handler, "GET", prefix+"/").Body.String()
	if !strings.Contains(home, `FLAG_READ_ONLY="true"`) {
		t.Error("the page offers buttons that are refused")
	}
	_, rest, _ := strings.Cut(home, `src="`)
	script, _, _ := strings.Cut(rest, `"`)
	got := ask(t, handler, "GET", script)
	if kind := got.Header().Get("Content-Type"); got.Code != http.StatusOK || !strings.HasPrefix(kind, "application/javascript") {
		t.Errorf("script %s: got %d of type %s", script, got.Code, kind)
	}
	if got := ask(t, handler, "GET", "/"); prefix != "" && got.Header().Get("Location") != prefix+"/" {
		t.Errorf("/ leads to %q, want the pages at %s/", got.Header().Get("Location"), prefix)
	}
}

// TestDescribe falls back on the payload where there is nothing to say of it,
// and cuts what is too long.
func TestDescribe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", mostShown+1)
	for name, test := range map[string]struct {
		describe func(string, []byte) string
		want     string
	}{
		"nobody to ask":  {nil, "payload"},
		"nothing to say": {func(string, []byte) string { return "" }, "payload"},
		"a description":  {func(taskType string, _ []byte) string { return "a " + taskType }, "a task"},
		"a long one":     {func(string, []byte) string { return long }, long[:mostShown] + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (Config{Describe: test.describe}).describe("task", []byte("payload")); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sentence, want string }{
		"empty":           {"", ""},
		"short":           {"done", "done"},
		"a result":        {"active until 2026-12-01 02:00 UTC; next check 2026-12-01 02:10 UTC by renewal", "active until 2026-12-01 02:00 UTC;\nnext check 2026-12-01 02:10 UTC by\nrenewal"},
		"just fits":       {strings.Repeat("x", boxColumns-2) + " y", strings.Repeat("x", boxColumns-2) + " y"},
		"just not":        {strings.Repeat("ü", boxColumns-1) + " y", strings.Repeat("ü", boxColumns-1) + "\ny"},
		"an endless word": {"a " + strings.Repeat("x", 2*boxColumns) + " b", "a\n" + strings.Repeat("x", 2*boxColumns) + "\nb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := wrapped(test.sentence); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ data, want string }{
		"ours":                {`{"id":1,"generation":2}`, `{"id":1,"generation":2}`},
		"empty":               {"", ""},
		"control characters":  {"a\x00b\x1b[31m\n", "a.b.[31m."},
		"not UTF-8":           {"\xff\xfe", ".."},
		"letters":             {"Grüße 你好", "Grüße 你好"},
		"exactly the most":    {strings.Repeat("x", mostShown), strings.Repeat("x", mostShown)},
		"one more":            {strings.Repeat("x", mostShown+1), strings.Repeat("x", mostShown) + "…"},
		"cut in a character":  {strings.Repeat("x", mostShown-1) + "üüü", strings.Repeat("x", mostShown-1) + "…"},
		"direction override":  {"a\u202eb", "a.b"},
		"megabytes of binary": {strings.Repeat("\xff", 5<<20), strings.Repeat(".", mostShown-utf8.UTFMax) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := printable([]byte(test.data)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
