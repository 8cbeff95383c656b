package worker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
	"revalidator/internal/secret"
)

// noon is the present of every test here.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const app = "com.example.reader"

// claimed is the receipt that most tests are about.
func claimed() claim.Receipt {
	return claim.Receipt{
		ID: 7, Generation: 3, RunID: 5, ByteSize: 6, Environment: iap.Production, ReadAt: noon,
		App: apps.App{BundleID: app, RatePerSecond: 10, Burst: 2},
	}
}

// parts is a worker between parts that a test sets up and looks at.
type parts struct {
	*Worker
	store   *fakeStore
	limiter *fakeLimiter
	log     *logLines
	clock   *fakeClock
}

// newParts makes a worker that saves outcomes until the test ends, with one
// claimed receipt and one secret. By default Apple's answer is a success.
func newParts(t *testing.T, change func(*Config)) parts {
	t.Helper()
	p := parts{
		store:   &fakeStore{receipt: claimed(), secrets: rows("new")},
		limiter: &fakeLimiter{}, log: &logLines{}, clock: &fakeClock{now: noon},
	}
	cfg := Config{
		Store: p.store, Limiter: p.limiter, Keys: openKeys{}, Redis: noRedis(),
		AppStore: appStore(func(context.Context, appstore.Request) (appstore.Answer, error) { return accepted(), nil }),
		Data:     func(_, size int64) appstore.Receipt { return fakeData(size) },
		Policy:   iap.DefaultPolicy(),
		// A half is the middle of the jitter: waits are what the policy says.
		Retry:      RetryPolicy{Random: func() float64 { return 0.5 }},
		BatchDelay: time.Nanosecond,
		Now:        p.clock.Now, Logger: slog.New(p.log),
	}
	if change != nil {
		change(&cfg)
	}
	worker, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Worker = worker
	stop := p.share(context.Background())
	t.Cleanup(func() {
		stop()
		p.Worker.stop()
		_ = cfg.Redis.Close()
	})
	return p
}

// noRedis is a client of a Redis that nobody asks. Its address is a number: a
// name would be looked up at once, which a synctest bubble does not survive.
func noRedis() *redis.Client { return redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) }

// accepted is a success that shows a subscription and so proves the secret.
func accepted() appstore.Answer {
	a := appstore.Answer{Environment: iap.Production, Calls: 1}
	a.Facts = iap.Facts{AsOf: noon, Environment: iap.Production, BundleID: app}
	a.Facts.AddTransaction(iap.Transaction{
		TransactionID: "1000", OriginalTransactionID: "1000", ProductID: "monthly", ExpiresDate: noon.Add(24 * time.Hour),
	}, iap.ListLatest)
	a.Facts.AddRenewalInfo(iap.RenewalInfo{OriginalTransactionID: "1000"})
	return a
}

// rows are secrets with the ids 1, 2 and so on, and texts alike, in the given
// states.
func rows(states ...string) []apps.SharedSecret {
	secrets := make([]apps.SharedSecret, len(states))
	for i, state := range states {
		secrets[i] = apps.SharedSecret{ID: int64(i + 1), BundleID: app, State: apps.SecretState(state), Ciphertext: []byte{'0' + byte(i+1)}}
	}
	return secrets
}

// appStore is Apple as a function.
type appStore func(context.Context, appstore.Request) (appstore.Answer, error)

func (f appStore) VerifyReceipt(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
	return f(ctx, r)
}

// answerOf is what the source makes of a reply.
func answerOf(reply appstore.Answer) (a Answer) {
	a.add(reply)
	return a
}

// allClasses are the tables of the worker and of verifyReceipt.
func allClasses() []Class { return slices.Concat(ownClasses(), (*verifyReceipt)(nil).Classes()) }

func classified(err error) Class { return classify((*verifyReceipt)(nil), err) }

// openKeys opens secrets that were never sealed.
type openKeys struct{}

func (openKeys) Open(ciphertext []byte, _ string) (secret.Value, error) {
	return secret.New(string(ciphertext)), nil
}

// fakeData is a receipt of so many bytes.
type fakeData int64

func (d fakeData) Size() int64 { return int64(d) }
func (d fakeData) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(strings.Repeat("r", int(d)))), nil
}

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fakeStore holds one claimed receipt and the secrets of one app. Its errors
// are what its methods return.
type fakeStore struct {
	mu      sync.Mutex
	receipt claim.Receipt
	secrets []apps.SharedSecret
	lost    bool // by the time of saving

	loadErr, saveErr, markErr, pauseErr, readOnly error

	stuck  *apps.App       // a paused app that has a secret to try
	probes []claim.Receipt // to try it with

	saved   []claim.Outcome
	reads   int // of the secrets
	marks   []mark
	paused  []string // reasons
	resumed []string // bundle ids
}

type mark struct {
	ID       int64
	Accepted bool
}

func (s *fakeStore) Writable(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readOnly
}

func (s *fakeStore) ClaimedReceipts(_ context.Context, claims []claim.Key) (map[claim.Key]claim.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loadErr != nil {
		return nil, s.loadErr
	}
	receipts := make(map[claim.Key]claim.Receipt)
	for _, c := range claims {
		if c.ReceiptID == s.receipt.ID && c.Generation == s.receipt.Generation {
			receipts[c] = s.receipt
		}
	}
	return receipts, nil
}

func (s *fakeStore) SaveOutcomes(_ context.Context, outcomes []claim.Outcome) ([]claim.Saved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saveErr != nil {
		return nil, s.saveErr
	}
	s.saved = append(s.saved, outcomes...)
	saved := make([]claim.Saved, len(outcomes))
	for i, o := range outcomes {
		saved[i] = claim.Saved{Held: !s.lost, NextCheck: o.NextCheck, Failure: o.Failure}
	}
	return saved, nil
}

func (s *fakeStore) PauseApp(ctx context.Context, _, reason string, _ time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmp.Or(s.pauseErr, ctx.Err()); err != nil {
		return false, err
	}
	s.paused = append(s.paused, reason)
	return len(s.paused) == 1, nil
}

// errCut is what lib/pq may say where the context of a query is cancelled.
var errCut = errors.New("pq: canceling statement due to user request")

func (s *fakeStore) SharedSecrets(ctx context.Context, _ string) ([]apps.SharedSecret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if ctx.Err() != nil {
		return nil, errCut
	}
	return slices.Clone(s.secrets), nil
}

func (s *fakeStore) MarkSharedSecret(_ context.Context, id int64, accepted bool, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.markErr != nil {
		return s.markErr
	}
	s.marks = append(s.marks, mark{id, accepted})
	s.secrets[id-1].State = apps.SecretRefused
	if accepted {
		s.secrets[id-1].State = apps.SecretAccepted
	}
	return nil
}

func (s *fakeStore) ResumeForSecret(_ context.Context, bundleID string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumed = append(s.resumed, bundleID)
	return true, nil
}

func (s *fakeStore) ClaimProbe(context.Context, time.Time, time.Duration, time.Duration) (apps.App, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck == nil {
		return apps.App{}, database.ErrNotFound
	}
	stuck := *s.stuck
	s.stuck = nil
	return stuck, nil
}

func (s *fakeStore) ProbeReceipts(context.Context, string) ([]claim.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes, nil
}

// fakeLimiter gives a slot at once unless wait says otherwise.
type fakeLimiter struct {
	wait func(ctx context.Context, key string, rate ratelimit.Rate) error

	mu       sync.Mutex
	blocked  map[string]time.Duration
	blockErr error
	// verdict is what each report comes to; reports are what was reported.
	verdict ratelimit.Verdict
	reports []report
}

type report struct {
	Budget string
	Heard  ratelimit.Signal
	Why    string
}

func (l *fakeLimiter) Wait(ctx context.Context, key string, rate ratelimit.Rate) (ratelimit.Slot, error) {
	if l.wait == nil {
		return ratelimit.Slot{}, nil
	}
	return ratelimit.Slot{}, l.wait(ctx, key, rate)
}

func (l *fakeLimiter) Report(_ context.Context, key string, _ ratelimit.Slot, heard ratelimit.Signal, why string) (ratelimit.Verdict, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, report{key, heard, why})
	return l.verdict, nil
}

func (l *fakeLimiter) Block(_ context.Context, key string, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked == nil {
		l.blocked = make(map[string]time.Duration)
	}
	l.blocked[key] = d
	return l.blockErr
}

// logLines remembers the message of each line, by level.
type logLines struct {
	mu    sync.Mutex
	lines map[slog.Level][]string
}

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }

func (l *logLines) Handle(_ context.Context, r slog.Record) error {
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
