package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hibiken/asynq"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
	"revalidator/jobs"
)

// task is the task of the claimed receipt.
func task() *asynq.Task {
	return asynq.NewTask(jobs.TypeVerify, []byte(`{"receipt":7,"generation":3,"run":5,"app":"com.example.reader"}`))
}

// never is an Apple that must not be asked.
func never(t *testing.T) appStore {
	return func(context.Context, appstore.Request) (appstore.Answer, error) {
		t.Error("Apple was asked")
		return appstore.Answer{}, nil
	}
}

func (p parts) mustHandle(t *testing.T) claim.Outcome {
	t.Helper()
	if err := p.Handle(t.Context(), task()); err != nil {
		t.Fatal(err)
	}
	if len(p.store.saved) != 1 {
		t.Fatalf("saved %d outcomes, want one", len(p.store.saved))
	}
	return p.store.saved[0]
}

func TestHandleSuccess(t *testing.T) {
	t.Parallel()
	var request appstore.Request
	p := newParts(t, func(c *Config) {
		c.ExcludeOldTransactions = true
		c.AppStore = appStore(func(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
			request = r
			return accepted(), r.Wait(ctx, iap.Production)
		})
	})
	var waited []any
	p.limiter.wait = func(_ context.Context, key string, rate ratelimit.Rate) error {
		waited = append(waited, key, rate)
		return nil
	}
	got := p.mustHandle(t)

	answer := accepted()
	conclusion := iap.Derive(&answer.Facts)
	want := claim.Outcome{
		ReceiptID: 7, Generation: 3, RunID: 5, BundleID: app, At: noon, Asked: true, Calls: 1, Code: new(int),
		State: iap.ReceiptValid, Environment: iap.Production, Conclusion: &conclusion,
		Policy: new(iap.DefaultPolicy()), Backoff: staleBase,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(iap.Evidence{})); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
	if request.BundleID != app || request.Environment != iap.Production || request.Receipt.Size() != 6 || !request.ExcludeOldTransactions {
		t.Errorf("request: %+v", request)
	}
	if diff := cmp.Diff([]any{app + "/verify_receipt:Production/up to 8 KiB", ratelimit.Rate{PerSecond: 10, Burst: 2}}, waited); diff != "" {
		t.Errorf("waited for (-want +got)\n%s", diff)
	}
}

// TestPolicyOfTheApp has an app that wants its receipts looked at more often.
func TestPolicyOfTheApp(t *testing.T) {
	t.Parallel()
	year := appstore.Answer{Environment: iap.Production, Calls: 1, Facts: iap.Facts{AsOf: noon, BundleID: app}}
	year.Facts.AddTransaction(iap.Transaction{TransactionID: "1", PurchaseDate: noon, ExpiresDate: noon.AddDate(1, 0, 0)}, iap.ListLatest)
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) { return year, nil })
	})
	p.store.receipt.App.SweepDays = new(7)
	if o := p.mustHandle(t); o.Policy.SweepEvery != 7*24*time.Hour {
		t.Errorf("the next check is planned with a sweep every %s, want every week", o.Policy.SweepEvery)
	}
}

func TestBadPayloadIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = never(t) })
	err := p.Handle(t.Context(), asynq.NewTask(jobs.TypeVerify, []byte(`{"receipt":0}`)))
	if !errors.Is(err, asynq.SkipRetry) || !errors.Is(err, jobs.ErrPayload) {
		t.Errorf("error: got %v, want SkipRetry and ErrPayload", err)
	}
	if p.store.saved != nil {
		t.Errorf("saved: %v", p.store.saved)
	}
}

func TestLostClaimIsNotAsked(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = never(t) })
	p.store.receipt.Generation++
	if err := p.Handle(t.Context(), task()); err != nil {
		t.Errorf("a lost claim is no fault: %v", err)
	}
	if p.store.saved != nil {
		t.Errorf("saved: %v", p.store.saved)
	}
}

func TestFaultsOfOurOwnAreLeftToTheQueue(t *testing.T) {
	t.Parallel()
	fault := errors.New("database is away")
	for name, test := range map[string]struct {
		fail func(*fakeStore)
		want map[slog.Level][]string
	}{
		"load":  {func(s *fakeStore) { s.loadErr = fault }, map[slog.Level][]string{slog.LevelWarn: {"load receipt"}}},
		"save":  {func(s *fakeStore) { s.saveErr = fault }, map[slog.Level][]string{slog.LevelWarn: {"save outcome"}}},
		"check": {func(s *fakeStore) { s.secrets, s.pauseErr = nil, fault }, map[slog.Level][]string{slog.LevelError: {"check receipt"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			test.fail(p.store)
			if err := p.Handle(t.Context(), task()); !errors.Is(err, fault) || errors.Is(err, asynq.SkipRetry) {
				t.Errorf("error: got %v, want %v, to be tried again", err, fault)
			}
			if diff := cmp.Diff(test.want, p.log.lines); diff != "" {
				t.Errorf("logged (-want +got)\n%s", diff)
			}
		})
	}
}

// TestFaultsOfAStopNeedNobody ends the task of a receipt, with and without the
// worker being told to stop, while something of ours is asked.
func TestFaultsOfAStopNeedNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stop bool
		want slog.Level
	}{
		"stopped":    {true, slog.LevelDebug},
		"lease lost": {false, slog.LevelWarn},
	} {
		for act, fail := range map[string]func(*fakeStore){
			"load receipt":  func(s *fakeStore) { s.loadErr = errCut },
			"check receipt": func(s *fakeStore) { s.secrets, s.pauseErr = nil, errCut },
			"save outcome":  func(s *fakeStore) { s.saveErr = errCut },
		} {
			t.Run(name+"/"+act, func(t *testing.T) {
				t.Parallel()
				p := newParts(t, nil)
				fail(p.store)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if test.stop {
					p.Worker.stop()
				}
				if err := p.Handle(ctx, task()); !errors.Is(err, errCut) {
					t.Errorf("error: got %v, want %v", err, errCut)
				}
				if diff := cmp.Diff(map[slog.Level][]string{test.want: {act}}, p.log.lines); diff != "" {
					t.Errorf("logged (-want +got)\n%s", diff)
				}
			})
		}
	}
}

func TestPausedAppIsGivenBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = never(t) })
	p.store.receipt.App.PausedAt = &noon
	want := claim.Outcome{ReceiptID: 7, Generation: 3, RunID: 5, BundleID: app, At: noon, Stays: true}
	if diff := cmp.Diff(want, p.mustHandle(t), noPolicy); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
}

// TestLateSlotLooksAtTheClaim has the worker stand still while it waits: the claim
// may be somebody else's by then, and only where it is not is Apple asked.
func TestLateSlotLooksAtTheClaim(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"lost": true, "held": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, func(c *Config) { c.AppStore = appStore(waits) })
			waits := 0
			p.limiter.wait = func(context.Context, string, ratelimit.Rate) error {
				if waits++; waits > 1 {
					return nil
				}
				p.store.mu.Lock()
				defer p.store.mu.Unlock()
				if lost {
					p.store.receipt.Generation++ // claimed by somebody else
				}
				return fmt.Errorf("confirm a slot: %w", ratelimit.ErrLate)
			}
			o := p.mustHandle(t)
			if asked := o.Calls > 0; asked == lost || waits > 1 == lost {
				t.Errorf("outcome %+v after %d waits, want it asked %t", o, waits, !lost)
			}
		})
	}
}

// TestOldClaimIsLookedAt: the wait for memory, or for a secret, was long.
func TestOldClaimIsLookedAt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age   time.Duration
		asked bool
	}{"just read": {time.Second, true}, "read long ago": {claimAge, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, func(c *Config) { c.AppStore = appStore(waits) })
			r := claimed()
			r.Generation, r.ReadAt = 2, noon.Add(-test.age) // an earlier claim
			o, err := p.check(t.Context(), r, p.memory.room(r))
			if err != nil || o.Calls > 0 != test.asked {
				t.Errorf("outcome %+v and %v, want it asked %t", o, err, test.asked)
			}
		})
	}
}

// TestWaitPastTheDeadlineIsNotApples ends the time of a task while it waits for
// the limiter: Apple has no part in it.
func TestWaitPastTheDeadlineIsNotApples(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = appStore(waits) })
	p.limiter.wait = func(context.Context, string, ratelimit.Rate) error { return context.DeadlineExceeded }
	o := p.mustHandle(t)
	if o.Failure != "waited_too_long" || o.Asked || len(p.limiter.reports) > 0 {
		t.Errorf("outcome %+v, reported %v; want it released, and nothing said of Apple", o, p.limiter.reports)
	}
}

// waits is an Apple that waits for its slot, as the real client does, and then
// accepts.
func waits(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
	if err := r.Wait(ctx, iap.Production); err != nil {
		return appstore.Answer{Environment: r.Environment}, waited(err)
	}
	return accepted(), nil
}

func TestBusyLimiterGivesBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = appStore(waits) })
	p.limiter.wait = func(context.Context, string, ratelimit.Rate) error {
		return &ratelimit.BusyError{RetryAfter: time.Minute}
	}
	want := claim.Outcome{
		ReceiptID: 7, Generation: 3, RunID: 5, BundleID: app, At: noon, Stays: true, Environment: iap.Production,
		Failure: "limiter_busy", NextCheck: iap.Check{At: noon.Add(time.Minute + time.Minute/8), Rule: iap.RuleWait},
	}
	if diff := cmp.Diff(want, p.mustHandle(t), noPolicy); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
}

// TestRateLimitedInTheSandbox blocks the budget of the environment that Apple
// pointed to.
func TestRateLimitedInTheSandbox(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	limited := &appstore.HTTPError{StatusCode: 429, RetryAfter: noon.Add(time.Minute)}
	for environment, want := range map[iap.Environment]string{iap.Sandbox: app + "/verify_receipt:Sandbox", "": app + "/verify_receipt:Production"} {
		p.limiter.blocked = nil
		if _, err := p.conclude(t.Context(), claimed(), Answer{Environment: environment, Calls: 2}, asked(limited)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]time.Duration{want: time.Minute}, p.limiter.blocked); diff != "" {
			t.Errorf("receipt of %q: blocked budgets (-want +got)\n%s", environment, diff)
		}
	}
}

func TestBlockThatFailsStillGivesBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	p.limiter.blockErr = errors.New("redis is away")
	o, err := p.conclude(t.Context(), claimed(), Answer{Calls: 1}, httpStatus(429))
	if err != nil || o.NextCheck.Rule != iap.RuleWait {
		t.Errorf("next check by %q, error %v; want %q and none", o.NextCheck.Rule, err, iap.RuleWait)
	}
}

// TestStopDuringTheWaitGivesBack stops the worker while a receipt waits for its
// slot.
func TestStopDuringTheWaitGivesBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = appStore(waits) })
	p.limiter.wait = func(ctx context.Context, _ string, _ ratelimit.Rate) error {
		p.Worker.stop()
		<-ctx.Done()
		return ctx.Err()
	}
	want := claim.Outcome{ReceiptID: 7, Generation: 3, RunID: 5, BundleID: app, At: noon, Stays: true, Environment: iap.Production}
	if diff := cmp.Diff(want, p.mustHandle(t), noPolicy); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
}

// TestStopDuringTheCallWaitsForTheAnswer stops the worker, and ends the task,
// while Apple is being asked.
func TestStopDuringTheCallWaitsForTheAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var p parts
	p = newParts(t, func(c *Config) {
		c.AppStore = appStore(func(asking context.Context, r appstore.Request) (appstore.Answer, error) {
			p.Worker.stop()
			if err := asking.Err(); err != nil {
				t.Errorf("the call was ended: %v", err)
			}
			cancel()
			return accepted(), nil
		})
	})
	if err := p.Handle(ctx, task()); err != nil {
		t.Fatal(err)
	}
	if len(p.store.saved) != 1 || p.store.saved[0].State != iap.ReceiptValid {
		t.Errorf("saved: %+v, want the answer that was there", p.store.saved)
	}
}

// TestStopDuringTheCallStillPauses has Apple refuse the only secret while the
// worker is stopped and the task ended.
func TestStopDuringTheCallStillPauses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			cancel()
			return appstore.Answer{Calls: 1}, status(21004)
		})
	})
	if err := p.Handle(ctx, task()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{apps.PausedSecretRefused}, p.store.paused); diff != "" {
		t.Errorf("pauses (-want +got)\n%s", diff)
	}
	if len(p.store.saved) != 1 || !p.store.saved[0].Stays {
		t.Errorf("saved: %+v, want the receipt given back", p.store.saved)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	t.Parallel()
	whole := newParts(t, nil).cfg
	for name, take := range map[string]func(*Config){
		"store":     func(c *Config) { c.Store = nil },
		"app store": func(c *Config) { c.AppStore = nil },
		"limiter":   func(c *Config) { c.Limiter = nil },
		"keys":      func(c *Config) { c.Keys = nil },
		"data":      func(c *Config) { c.Data = nil },
		"redis":     func(c *Config) { c.Redis = nil },
	} {
		cfg := whole
		take(&cfg)
		if w, err := New(cfg); err == nil || w != nil {
			t.Errorf("without %s: got %v and %v, want an error", name, w, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	w, err := New(Config{
		Store: &fakeStore{}, AppStore: appStore(waits), Limiter: &fakeLimiter{}, Keys: openKeys{},
		Data: func(int64, int64) appstore.Receipt { return nil }, Redis: newParts(t, nil).cfg.Redis,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(w.cfg.Concurrency, w.cfg.LargeConcurrency, w.cfg.BatchSize, w.cfg.BatchDelay, w.cfg.ShutdownTimeout,
		w.cfg.Retry.Base, w.cfg.Retry.Max, w.cfg.Retry.Limit)
	if diff := cmp.Diff("512 4 250 10ms 1m10s 30s 6h0m0s 5\n", got); diff != "" {
		t.Errorf("defaults (-want +got)\n%s", diff)
	}
	if w.cfg.Now().IsZero() || w.cfg.Logger == nil {
		t.Error("no clock or no logger")
	}
}

// noPolicy leaves out of a comparison of outcomes by which policy they are planned.
var noPolicy = cmpopts.IgnoreFields(claim.Outcome{}, "Policy")

// TestCoveredReceiptIsNotAskedAbout has a receipt that another one was checked for.
func TestCoveredReceiptIsNotAskedAbout(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = never(t) })
	p.store.receipt.Rests = true
	want := claim.Outcome{ReceiptID: 7, Generation: 3, RunID: 5, BundleID: app, At: noon, Rests: true}
	if diff := cmp.Diff(want, p.mustHandle(t), noPolicy); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
}
