package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

// fakeStore is a database with one app, whose receipts are all due. What it was
// told is in steps, in order.
type fakeStore struct {
	Store
	// receipts are the sizes of the receipts, whose ids are 1, 2 and so on.
	receipts []int64
	// fail, where it is set, may fail any method, by its name.
	fail func(method string) error
	// orphans are runs whose owner died; a lost run has another owner.
	orphans []runs.Run
	lost    bool

	// taken is whether another owner has the run, of which KeepRun alone hears.
	taken bool
	// counting, where it is set, holds counting up until it is closed.
	counting chan struct{}
	// ownerUntil is the end of the lease of whoever feeds the run.
	ownerUntil time.Time

	mu        sync.Mutex
	unbounded []string // calls without a deadline
	counts    int
	resumed   []int64
	claims    map[int64]claim.Claim
	until     map[int64]time.Time // of claims that are held
	done      map[int64]bool
	epoch     string
	opened    map[time.Time]bool
	tries     int // to open a run
	runs      []runs.Run
	leases    []runs.Lease
	ended     []runs.State
	requests  []claim.Request
	steps     []string
	most      int // claims at a time
}

// begin locks the store for a method, unless it is to fail. It notes calls without a
// deadline, which could take for ever.
func (s *fakeStore) begin(ctx context.Context, method string) error {
	if _, bounded := ctx.Deadline(); !bounded {
		s.mu.Lock()
		s.unbounded = append(s.unbounded, method)
		s.mu.Unlock()
	}
	if s.fail != nil {
		if err := s.fail(method); err != nil {
			return err
		}
	}
	s.mu.Lock()
	return nil
}

func (s *fakeStore) OpenRun(ctx context.Context, run runs.Run, owner runs.Lease, _ time.Time) (runs.Run, error) {
	if err := s.begin(ctx, "OpenRun"); err != nil {
		return runs.Run{}, err
	}
	defer s.mu.Unlock()
	s.tries++
	if s.opened[run.ScheduledFor] {
		return runs.Run{}, fmt.Errorf("open run: %w", database.ErrConflict)
	}
	if s.opened == nil {
		s.opened = make(map[time.Time]bool)
	}
	s.opened[run.ScheduledFor] = true
	run.ID = int64(len(s.opened))
	s.runs = append(s.runs, run)
	s.leases = append(s.leases, owner)
	return run, nil
}

func (s *fakeStore) TakeOverRun(ctx context.Context, _ runs.Lease, _ time.Time, _ ...runs.Kind) (runs.Run, error) {
	if err := s.begin(ctx, "TakeOverRun"); err != nil {
		return runs.Run{}, err
	}
	defer s.mu.Unlock()
	if len(s.orphans) == 0 {
		return runs.Run{}, fmt.Errorf("take over a run: %w", database.ErrNotFound)
	}
	run := s.orphans[0]
	s.orphans = s.orphans[1:]
	return run, nil
}

func (s *fakeStore) KeepRun(ctx context.Context, _ int64, owner runs.Lease) (bool, error) {
	if err := s.begin(ctx, "KeepRun"); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	s.leases = append(s.leases, owner)
	return !s.lost && !s.taken, nil
}

func (s *fakeStore) EndRun(ctx context.Context, _ int64, state runs.State, _ time.Time) (bool, error) {
	if err := s.begin(ctx, "EndRun"); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	s.ended = append(s.ended, state)
	return true, nil
}

func (s *fakeStore) CountRun(ctx context.Context, _ runs.Run, _ time.Time) error {
	if s.counting != nil {
		select {
		case <-s.counting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.begin(ctx, "CountRun"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.counts++
	return nil
}

func (s *fakeStore) ResumeRun(ctx context.Context, id int64, owner runs.Lease, deadline, _ time.Time) (runs.Run, error) {
	if err := s.begin(ctx, "ResumeRun"); err != nil {
		return runs.Run{}, err
	}
	defer s.mu.Unlock()
	s.lost = false
	s.resumed = append(s.resumed, id)
	return runs.Run{ID: id, Deadline: deadline}, nil
}

func (s *fakeStore) HasWork(ctx context.Context, _ runs.Run, _ time.Time) (bool, error) {
	if err := s.begin(ctx, "HasWork"); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	return len(s.done) < len(s.receipts), nil
}

func (s *fakeStore) RunTotals(ctx context.Context, _ int64) (runs.Totals, error) {
	if err := s.begin(ctx, "RunTotals"); err != nil {
		return runs.Totals{}, err
	}
	defer s.mu.Unlock()
	due := int64(len(s.receipts))
	totals := runs.Totals{Run: runs.Run{Deadline: time.Now().Add(time.Hour)}, Figures: runs.Figures{Due: &due, Succeeded: int64(len(s.done)), Done: int64(len(s.done))}, State: runs.Running, OwnerUntil: s.ownerUntil}
	if len(s.ended) > 0 {
		totals.State = s.ended[len(s.ended)-1]
	}
	return totals, nil
}

func (s *fakeStore) Claim(ctx context.Context, r claim.Request) ([]claim.Claim, error) {
	if err := s.begin(ctx, "Claim"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if s.lost {
		return nil, runs.ErrLost
	}
	if s.claims == nil {
		s.claims, s.until = make(map[int64]claim.Claim), make(map[int64]time.Time)
	}
	r.Held, r.Since = maps.Clone(r.Held), maps.Clone(r.Since) // the caller goes on with them
	s.requests = append(s.requests, r)
	var claims []claim.Claim
	for i, size := range s.receipts {
		id := int64(i + 1)
		if _, held := s.until[id]; held || s.done[id] || len(claims) >= r.Limit {
			continue
		}
		c := claim.Claim{ReceiptID: id, Generation: s.claims[id].Generation + 1, BundleID: "com.example.reader", ByteSize: size, DueAt: dueAt(id)}
		s.claims[id], s.until[id] = c, r.Until
		s.steps = append(s.steps, fmt.Sprintf("claim %d:%d", id, c.Generation))
		claims = append(claims, c)
	}
	s.most = max(s.most, len(s.until))
	return claims, nil
}

// dueAt is when a receipt is due: the one after the other.
func dueAt(id int64) time.Time { return time.UnixMilli(id).UTC() }

func (s *fakeStore) ClaimedCount(ctx context.Context) (claim.Held, error) {
	if err := s.begin(ctx, "ClaimedCount"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	held := claim.Held{}
	for id := range s.until {
		held[s.claims[id].BundleID]++
	}
	return held, nil
}

func (s *fakeStore) ReleaseExpired(ctx context.Context, now time.Time) (int64, error) {
	if err := s.begin(ctx, "ReleaseExpired"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.release(func(until time.Time) bool { return until.Before(now) }), nil
}

func (s *fakeStore) ClaimsBefore(ctx context.Context, made time.Time, lease time.Duration, _ int) (claims []claim.Claim, err error) {
	if err := s.begin(ctx, "ClaimsBefore"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for id, until := range s.until {
		if until.Before(made.Add(lease)) {
			claims = append(claims, s.claims[id])
		}
	}
	return claims, nil
}

func (s *fakeStore) FollowEpoch(ctx context.Context, read func(context.Context) (string, error)) (claim.Followed, error) {
	epoch, err := read(ctx)
	if err != nil {
		return claim.Followed{}, err
	}
	if err := s.begin(ctx, "FollowEpoch"); err != nil {
		return claim.Followed{}, err
	}
	defer s.mu.Unlock()
	if epoch == s.epoch {
		return claim.Followed{Epoch: epoch}, nil
	}
	s.epoch = epoch
	return claim.Followed{Epoch: epoch, Changed: true, Released: s.release(func(time.Time) bool { return true })}, nil
}

func (s *fakeStore) release(over func(time.Time) bool) (released int64) {
	for id, until := range s.until {
		if over(until) {
			delete(s.until, id)
			released++
		}
	}
	return released
}

// lose has another owner take the run, or not.
func (s *fakeStore) lose(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = lost
}

// finish is the outcome of a task: nothing where its claim was lost.
func (s *fakeStore) finish(v jobs.Verify) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.until[v.ReceiptID]; !held || s.claims[v.ReceiptID].Generation != v.Generation {
		return
	}
	delete(s.until, v.ReceiptID)
	if s.done == nil {
		s.done = make(map[int64]bool)
	}
	s.done[v.ReceiptID] = true
}

// fakeQueue gives each task to work, which may fail to take it.
type fakeQueue struct {
	store *fakeStore
	// work is what becomes of tasks; nil leaves them on the queue for ever.
	work  func(ctx context.Context, tasks []jobs.Verify) error
	mu    sync.Mutex
	epoch string
	tasks []jobs.Verify

	unbounded []string // calls without a deadline
}

func (q *fakeQueue) bounded(ctx context.Context, method string) {
	if _, bounded := ctx.Deadline(); !bounded {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.unbounded = append(q.unbounded, method)
	}
}

// Missing are tasks that were never enqueued.
func (q *fakeQueue) Missing(ctx context.Context, tasks []jobs.Verify) (missing []jobs.Verify, err error) {
	q.bounded(ctx, "Missing")
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, v := range tasks {
		if !slices.ContainsFunc(q.tasks, func(w jobs.Verify) bool { return w.TaskID() == v.TaskID() }) {
			missing = append(missing, v)
		}
	}
	return missing, nil
}

// fakePresence is one that a test may have contested, or end by an error.
type fakePresence struct {
	contested atomic.Bool
	lost      chan error
}

func (p *fakePresence) Contested() bool { return p.contested.Load() }

func (p *fakePresence) Run(ctx context.Context) error {
	select {
	case err := <-p.lost:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (q *fakeQueue) Enqueue(ctx context.Context, tasks []jobs.Verify) error {
	q.bounded(ctx, "Enqueue")
	q.store.mu.Lock()
	for _, v := range tasks {
		q.store.steps = append(q.store.steps, fmt.Sprintf("enqueue %d:%d", v.ReceiptID, v.Generation))
	}
	q.store.mu.Unlock()
	q.mu.Lock()
	q.tasks = append(q.tasks, tasks...)
	q.mu.Unlock()
	if q.work == nil {
		return nil
	}
	return q.work(ctx, tasks)
}

func (q *fakeQueue) Epoch(ctx context.Context) (string, error) {
	q.bounded(ctx, "Epoch")
	if q.store.fail != nil {
		if err := q.store.fail("Epoch"); err != nil {
			return "", err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.epoch, nil
}

// atOnce does tasks as they come.
func (q *fakeQueue) atOnce(ctx context.Context, tasks []jobs.Verify) error {
	for _, v := range tasks {
		q.store.finish(v)
	}
	return nil
}

// logLines remembers the message of each line, by level.
type logLines struct {
	mu    sync.Mutex
	lines map[slog.Level][]string
}

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }

func (l *logLines) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = make(map[slog.Level][]string)
	}
	l.lines[r.Level] = append(l.lines[r.Level], r.Message)
	return nil
}

func (l *logLines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logLines) WithGroup(string) slog.Handler      { return l }

func (l *logLines) at(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[level])
}

// bubble is a scheduler between fakes, on a clock that stands still while
// anybody works and then jumps to the next thing to happen. It starts on
// 1 January 2000, 00:00 UTC. A goroutine that outlives the test fails it.
type bubble struct {
	*Scheduler
	store   *fakeStore
	queue   *fakeQueue
	log     *logLines
	started time.Time
}

// inBubble runs a test with n receipts of 10 bytes that are due, whose tasks
// are done as they are enqueued.
func inBubble(t *testing.T, n int, change func(*Config), test func(t *testing.T, b bubble)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bubble{store: &fakeStore{receipts: slices.Repeat([]int64{10}, n)}, log: &logLines{}, started: time.Now().UTC()}
		b.queue = &fakeQueue{store: b.store, epoch: "first"}
		b.queue.work = b.queue.atOnce
		cfg := Config{Store: b.store, Queue: b.queue, Logger: slog.New(b.log)}
		if change != nil {
			change(&cfg)
		}
		b.Scheduler = newScheduler(t, cfg)
		test(t, b)
	})
}

// elapsed is how long the test has taken by the clock of the bubble.
func (b bubble) elapsed() time.Duration { return time.Since(b.started) }

func (b bubble) mustOpen(t *testing.T) runs.Run {
	t.Helper()
	run, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// mustFeed opens a run, feeds it to its end and returns its totals.
func (b bubble) mustFeed(t *testing.T) runs.Totals {
	t.Helper()
	totals, err := b.Feed(t.Context(), b.mustOpen(t))
	if err != nil {
		t.Fatal(err)
	}
	return totals
}
