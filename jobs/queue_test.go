package jobs_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"revalidator/internal/dev/devstack/redistest"
	"revalidator/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const timeout = 90 * time.Second

var slogDiscard = slog.New(slog.DiscardHandler)

// fixture is a queue in a Redis of its own, and a look into it.
type fixture struct {
	*jobs.Queue
	t         *testing.T
	redis     *redis.Client
	inspector *asynq.Inspector
}

func open(t *testing.T) fixture {
	t.Helper()
	t.Parallel()
	options, err := redis.ParseURL(redistest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return fixture{jobs.NewQueue(client, timeout), t, client, asynq.NewInspectorFromRedisClient(client)}
}

func (f fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// pending lists the ids of the tasks that wait in a queue, in order.
func (f fixture) pending(queue string) []string {
	f.t.Helper()
	tasks, err := f.inspector.ListPendingTasks(queue, asynq.PageSize(1000))
	f.must(err)
	ids := make([]string, len(tasks))
	for i, task := range tasks {
		ids[i] = task.ID
	}
	slices.Sort(ids)
	return ids
}

// TestTaskOnTheQueue is the contract with whatever reads the queue, an older or
// newer worker among them.
func TestTaskOnTheQueue(t *testing.T) {
	f := open(t)
	small := jobs.Verify{ReceiptID: 7, Generation: 3, RunID: 2, BundleID: app}
	large := jobs.Verify{ReceiptID: 8, Generation: 1, BundleID: app, Large: true}
	f.must(f.Enqueue(t.Context(), []jobs.Verify{small, large}))
	for _, want := range []*asynq.TaskInfo{
		{
			ID: "r:7:3", Queue: "receipts", Type: "receipt:verify", MaxRetry: 3, Timeout: timeout,
			State: asynq.TaskStatePending, Payload: []byte(`{"receipt":7,"generation":3,"run":2,"app":"com.example.reader"}`),
		},
		{
			ID: "r:8:1", Queue: "receipts-large", Type: "receipt:verify", MaxRetry: 3, Timeout: timeout,
			State: asynq.TaskStatePending, Payload: []byte(`{"receipt":8,"generation":1,"app":"com.example.reader"}`),
		},
	} {
		got, err := f.inspector.GetTaskInfo(want.Queue, want.ID)
		f.must(err)
		// When it is run next is now, as it is pending.
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(asynq.TaskInfo{}, "NextProcessAt")); diff != "" {
			t.Errorf("task %s (-want +got)\n%s", want.ID, diff)
		}
	}
}

// TestRetaining keeps tasks for whole seconds after their end, and leaves the
// queue that it is made from as it was.
func TestRetaining(t *testing.T) {
	f := open(t)
	tasks := []jobs.Verify{{ReceiptID: 1, Generation: 1, BundleID: app}, {ReceiptID: 2, Generation: 1, BundleID: app}}
	f.must(f.Retaining(time.Minute).Enqueue(t.Context(), tasks[:1]))
	f.must(f.Enqueue(t.Context(), tasks[1:]))
	for i, want := range []time.Duration{time.Minute, 0} {
		got, err := f.inspector.GetTaskInfo(tasks[i].Queue(), tasks[i].TaskID())
		f.must(err)
		if got.Retention != want {
			t.Errorf("task %s is retained for %s, want %s", got.ID, got.Retention, want)
		}
	}
}

func TestEnqueueOnce(t *testing.T) {
	f := open(t)
	tasks := make([]jobs.Verify, 100)
	want := make([]string, len(tasks))
	for i := range tasks {
		tasks[i] = jobs.Verify{ReceiptID: int64(i + 1), Generation: 1, BundleID: app}
		want[i] = tasks[i].TaskID()
	}
	slices.Sort(want)
	for range 2 {
		f.must(f.Enqueue(t.Context(), tasks))
		if diff := cmp.Diff(want, f.pending(jobs.QueueSmall)); diff != "" {
			t.Fatalf("tasks on the queue (-want +got)\n%s", diff)
		}
	}
	next := jobs.Verify{ReceiptID: 1, Generation: 2, BundleID: app}
	f.must(f.Enqueue(t.Context(), []jobs.Verify{tasks[0], next}))
	if got := len(f.pending(jobs.QueueSmall)); got != 101 {
		t.Errorf("after the next claim of one: got %d tasks, want 101", got)
	}
}

// TestEndedTaskIsNoTask has the id of a claim in Redis already, as after a database
// was restored: a task that has ended, in whatever way, is replaced, one that waits
// is not.
func TestEndedTaskIsNoTask(t *testing.T) {
	for name, end := range map[string]func(f fixture, v jobs.Verify) error{
		"pending": func(fixture, jobs.Verify) error { return nil },
		"archived": func(f fixture, v jobs.Verify) error {
			return f.inspector.ArchiveTask(v.Queue(), v.TaskID())
		},
		"completed": func(f fixture, v jobs.Verify) error {
			f.work(func(context.Context, *asynq.Task) error { return nil }, func() bool {
				info, err := f.inspector.GetTaskInfo(v.Queue(), v.TaskID())
				return err == nil && info.State == asynq.TaskStateCompleted
			})
			return nil
		},
		// What asynq's pages leave of the tasks that they archive beyond 10,000.
		"orphaned": func(f fixture, v jobs.Verify) error {
			if err := f.inspector.ArchiveTask(v.Queue(), v.TaskID()); err != nil {
				return err
			}
			return f.redis.Del(f.t.Context(), "asynq:{receipts}:archived").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			task := jobs.Verify{ReceiptID: 7, Generation: 3, BundleID: app}
			q := f.Retaining(time.Hour)
			f.must(q.Enqueue(t.Context(), []jobs.Verify{task}))
			f.must(end(f, task))
			f.must(q.Enqueue(t.Context(), []jobs.Verify{task}))
			if diff := cmp.Diff([]string{"r:7:3"}, f.pending(jobs.QueueSmall)); diff != "" {
				t.Errorf("tasks that wait (-want +got)\n%s", diff)
			}
		})
	}
}

// TestActiveTaskIsATask enqueues a claim again while a worker has its task.
func TestActiveTaskIsATask(t *testing.T) {
	f := open(t)
	task := jobs.Verify{ReceiptID: 7, Generation: 3, BundleID: app}
	f.must(f.Enqueue(t.Context(), []jobs.Verify{task}))
	runs := make(chan struct{}, 2)
	f.work(func(ctx context.Context, _ *asynq.Task) error {
		runs <- struct{}{}
		return f.Enqueue(ctx, []jobs.Verify{task})
	}, func() bool { return len(runs) == 1 && len(f.pending(jobs.QueueSmall)) == 0 })
	if len(runs) != 1 {
		t.Errorf("the task ran %d times, want once", len(runs))
	}
}

// work serves the queue until something is so.
func (f fixture) work(handle asynq.HandlerFunc, until func() bool) {
	f.t.Helper()
	server := asynq.NewServerFromRedisClient(f.redis, asynq.Config{
		Queues: map[string]int{jobs.QueueSmall: 1}, TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.FatalLevel,
	})
	f.must(server.Start(handle))
	defer server.Shutdown()
	f.until(until)
}

// until polls until something is so.
func (f fixture) until(holds func() bool) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-f.t.Context().Done():
			f.t.Fatal("not within the time of the test")
		}
	}
}

// TestMissing tells claims with a task from those without.
func TestMissing(t *testing.T) {
	f := open(t)
	own := f.Of(func() jobs.Owner { return jobs.Owner{Installation: "5e1f00000000"} })
	tasks := []jobs.Verify{
		{ReceiptID: 1, Generation: 1, BundleID: app}, {ReceiptID: 2, Generation: 1, BundleID: app, Large: true},
		{ReceiptID: 3, Generation: 1, BundleID: app}, {ReceiptID: 4, Generation: 1, BundleID: app},
	}
	f.must(own.Enqueue(t.Context(), tasks[:3]))
	f.must(f.inspector.ArchiveTask(jobs.QueueSmall, "5e1f00000000:r:3:1"))
	f.must(f.Enqueue(t.Context(), tasks[3:])) // of another installation
	missing, err := own.Missing(t.Context(), tasks)
	f.must(err)
	var got []int64
	for _, v := range missing {
		got = append(got, v.ReceiptID)
	}
	if diff := cmp.Diff([]int64{3, 4}, got); diff != "" {
		t.Errorf("receipts without a task (-want +got)\n%s", diff)
	}
	if missing, err := own.Missing(t.Context(), nil); err != nil || missing != nil {
		t.Errorf("of nothing: got %v and %v, want nothing", missing, err)
	}
}

func TestEnqueueNothing(t *testing.T) {
	f := open(t)
	f.must(f.Enqueue(t.Context(), nil))
	if keys := f.redis.DBSize(t.Context()).Val(); keys != 0 {
		t.Errorf("%d keys in Redis, want none", keys)
	}
}

func TestEnqueueFailsWithoutRedis(t *testing.T) {
	f := open(t)
	f.must(f.redis.Close())
	if err := f.Enqueue(t.Context(), []jobs.Verify{{ReceiptID: 1, Generation: 1}}); err == nil {
		t.Error("a task that could not be enqueued is no error")
	}
	if epoch, err := f.Epoch(t.Context()); err == nil || epoch != "" {
		t.Errorf("epoch: got %q and %v, want none and an error", epoch, err)
	}
}

func TestEpoch(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	first := f.epoch(ctx)
	f.must(f.Enqueue(ctx, []jobs.Verify{{ReceiptID: 1, Generation: 1, BundleID: app}}))
	for _, q := range []*jobs.Queue{f.Queue, jobs.NewQueue(f.redis, timeout)} {
		epoch, err := q.Epoch(ctx)
		f.must(err)
		if epoch != first {
			t.Errorf("epoch: got %s, want %s as long as Redis keeps its memory", epoch, first)
		}
	}

	f.must(f.redis.FlushAll(ctx).Err())
	second := f.epoch(ctx)
	if second == first {
		t.Error("an emptied Redis has the epoch that it had before")
	}
	if again := f.epoch(ctx); again != second {
		t.Errorf("epoch after the flush: got %s, then %s", second, again)
	}
	// asynq's client announced the queue before the flush, and will not again.
	f.must(f.Enqueue(ctx, []jobs.Verify{{ReceiptID: 1, Generation: 2, BundleID: app}}))
	queues, err := f.inspector.Queues()
	f.must(err)
	slices.Sort(queues)
	if diff := cmp.Diff(jobs.Queues(), queues); diff != "" {
		t.Errorf("queues known to the inspector (-want +got)\n%s", diff)
	}
}

func (f fixture) epoch(ctx context.Context) string {
	f.t.Helper()
	epoch, err := f.Epoch(ctx)
	f.must(err)
	if epoch == "" {
		f.t.Fatal("no epoch")
	}
	return epoch
}

// TestOneEpochForAll lets several schedulers meet an empty Redis at once.
func TestOneEpochForAll(t *testing.T) {
	f := open(t)
	const schedulers = 16
	type answer struct {
		epoch string
		err   error
	}
	answers := make(chan answer, schedulers)
	for range schedulers {
		go func() {
			epoch, err := f.Epoch(t.Context())
			answers <- answer{epoch, err}
		}()
	}
	epochs := map[string]bool{}
	for range schedulers {
		a := <-answers
		f.must(a.err)
		epochs[a.epoch] = true
	}
	if len(epochs) != 1 {
		t.Errorf("%d epochs among %d schedulers, want one", len(epochs), schedulers)
	}
}

// TestRetentionCost measures what tasks that have ended take in Redis, those that
// succeeded and those that failed, with sentences of the usual length.
func TestRetentionCost(t *testing.T) {
	const tasks = 5000
	const sentence = "active until 2026-12-01 02:00 UTC; next check 2026-12-01 02:10 UTC by renewal"
	for name, test := range map[string]struct {
		err  error
		most int64
	}{
		"succeeded": {nil, 850},
		"failed":    {fmt.Errorf("%s: %w", sentence, asynq.SkipRetry), 1000},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			queue := f.of(shop).Retaining(time.Hour)
			_, err := queue.Epoch(t.Context())
			f.must(err)
			before := f.usedMemory()
			var all []jobs.Verify
			for i := range int64(tasks) {
				all = append(all, jobs.Verify{ReceiptID: 10_000_000 + i, Generation: 12, RunID: 345, BundleID: app})
			}
			f.must(queue.Enqueue(t.Context(), all))
			f.work(func(_ context.Context, task *asynq.Task) error {
				_, _ = task.ResultWriter().Write([]byte(sentence))
				return test.err
			}, func() bool {
				info, err := f.inspector.GetQueueInfo(jobs.QueueSmall)
				return err == nil && info.Completed+info.Archived == tasks
			})
			each := (f.usedMemory() - before) / tasks
			t.Logf("%d bytes for each task", each)
			if each > test.most {
				t.Errorf("%d bytes for each task, want %d at most, as REVALIDATOR_RETENTION says", each, test.most)
			}
		})
	}
}

func (f fixture) usedMemory() (used int64) {
	f.t.Helper()
	_, line, found := strings.Cut(f.redis.Info(f.t.Context(), "memory").Val(), "used_memory:")
	if !found {
		f.t.Skip("the stand-in does not know how much it uses")
	}
	_, err := fmt.Sscan(line, &used)
	f.must(err)
	return used
}
