package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/secret"
)

// passwords is an Apple that remembers what it was asked with, and accepts some
// of it.
type passwords struct {
	accepts []string

	mu    sync.Mutex
	asked []string
	where []iap.Environment
}

func (a *passwords) VerifyReceipt(_ context.Context, r appstore.Request) (appstore.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Password.Reveal())
	a.where = append(a.where, r.Environment)
	if !slices.Contains(a.accepts, r.Password.Reveal()) {
		return appstore.Answer{Environment: r.Environment, Calls: 1}, status(21004)
	}
	return accepted(), nil
}

// check does what a task does with the claimed receipt.
func (p parts) mustCheck(t *testing.T) claim.Outcome {
	t.Helper()
	o, err := p.check(t.Context(), p.store.receipt, p.memory.room(p.store.receipt))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRingOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		states  []string
		accepts []string
		asked   []string
		marks   []mark
		paused  []string
	}{
		"the first is good":                      {[]string{"new", "new"}, []string{"1"}, []string{"1"}, []mark{{1, true}}, nil},
		"the next on 21004":                      {[]string{"new", "new", "new"}, []string{"2", "3"}, []string{"1", "2"}, []mark{{1, false}, {2, true}}, nil},
		"known as good is no news":               {[]string{"accepted"}, []string{"1"}, []string{"1"}, nil, nil},
		"known as refused comes last":            {[]string{"refused", "new"}, []string{"2"}, []string{"2"}, []mark{{2, true}}, nil},
		"known as refused is tried all the same": {[]string{"refused", "new"}, []string{"1"}, []string{"2", "1"}, []mark{{2, false}, {1, true}}, nil},
		"known as refused is no news":            {[]string{"refused", "refused"}, nil, []string{"1", "2"}, nil, []string{apps.PausedSecretRefused}},
		"good before is refused now":             {[]string{"accepted"}, nil, []string{"1"}, []mark{{1, false}}, []string{apps.PausedSecretRefused}},
		"each once when all are refused":         {[]string{"new", "accepted", "refused"}, nil, []string{"2", "1", "3"}, []mark{{2, false}, {1, false}}, []string{apps.PausedSecretRefused}},
		"accepted before comes first":            {[]string{"new", "accepted"}, []string{"1", "2"}, []string{"2"}, nil, nil},
		"no secret":                              {nil, nil, nil, nil, []string{apps.PausedNoSecret}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apple := &passwords{accepts: test.accepts}
			p := newParts(t, func(c *Config) { c.AppStore = apple })
			p.store.secrets = rows(test.states...)
			o := p.mustCheck(t)
			if diff := cmp.Diff(test.asked, apple.asked); diff != "" {
				t.Errorf("asked with (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.marks, p.store.marks); diff != "" {
				t.Errorf("marks (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.paused, p.store.paused); diff != "" {
				t.Errorf("reasons of pauses (-want +got)\n%s", diff)
			}
			if o.Calls != len(test.asked) || o.Asked != (test.paused == nil) {
				t.Errorf("outcome: %d calls, asked %t; want %d, %t", o.Calls, o.Asked, len(test.asked), test.paused == nil)
			}
		})
	}
}

// TestNewsIsToldOnce checks a receipt after another at the same time.
func TestNewsIsToldOnce(t *testing.T) {
	t.Parallel()
	apple := &passwords{accepts: []string{"2"}}
	p := newParts(t, func(c *Config) { c.AppStore = apple })
	p.store.secrets = rows("new", "new")
	p.mustCheck(t)
	p.mustCheck(t)
	if diff := cmp.Diff([]string{"1", "2", "2"}, apple.asked); diff != "" {
		t.Errorf("asked with (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]mark{{1, false}, {2, true}}, p.store.marks); diff != "" {
		t.Errorf("marks (-want +got)\n%s", diff)
	}
}

// TestRingStopsAtEveryOtherError asks once, whatever comes but 21004.
func TestRingStopsAtEveryOtherError(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{status(21005), status(21003), httpStatus(429), asked(appstore.ErrTimeout)} {
		calls := 0
		p := newParts(t, func(c *Config) {
			c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
				calls++
				return appstore.Answer{Calls: 1}, cause
			})
		})
		p.store.secrets = rows("new", "new")
		p.mustCheck(t)
		if calls != 1 || p.store.marks != nil {
			t.Errorf("%v: %d calls, marks %v; want one and none", cause, calls, p.store.marks)
		}
	}
}

// TestSuccessWithoutASubscriptionProvesNoSecret has an answer for which Apple
// never looks at the secret.
func TestSuccessWithoutASubscriptionProvesNoSecret(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			return appstore.Answer{Environment: iap.Production, Calls: 1, Facts: iap.Facts{AsOf: noon, BundleID: app}}, nil
		})
	})
	if o := p.mustCheck(t); o.State != iap.ReceiptValid {
		t.Errorf("state: got %q, want valid", o.State)
	}
	if p.store.marks != nil {
		t.Errorf("marks: %v, want none", p.store.marks)
	}
}

// TestNextSecretAsksWhereTheReceiptLives keeps what the first answer taught.
func TestNextSecretAsksWhereTheReceiptLives(t *testing.T) {
	t.Parallel()
	var where []iap.Environment
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(_ context.Context, r appstore.Request) (appstore.Answer, error) {
			where = append(where, r.Environment)
			return appstore.Answer{Environment: iap.Sandbox, Calls: 2}, status(21004)
		})
	})
	p.store.receipt.Environment = ""
	p.store.secrets = rows("new", "new")
	if o := p.mustCheck(t); o.Calls != 4 || o.Environment != iap.Sandbox {
		t.Errorf("%d calls, environment %q; want 4 and Sandbox", o.Calls, o.Environment)
	}
	if diff := cmp.Diff([]iap.Environment{"", iap.Sandbox}, where); diff != "" {
		t.Errorf("environments of the requests (-want +got)\n%s", diff)
	}
}

func TestPausedOnceWithOneAlarm(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][]apps.SharedSecret{"refused": rows("new", "new"), "none": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, func(c *Config) { c.AppStore = &passwords{} })
			p.store.secrets = secrets
			for range 5 {
				if o := p.mustCheck(t); o.Asked || !o.Stays {
					t.Errorf("asked %t, stays %t; want the receipt given back", o.Asked, o.Stays)
				}
			}
			want := []string{"app paused"}
			if diff := cmp.Diff(want, p.log.at(slog.LevelError)); diff != "" {
				t.Errorf("errors logged (-want +got)\n%s", diff)
			}
		})
	}
}

func TestPauseThatFails(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = &passwords{} })
	p.store.pauseErr = errors.New("database is away")
	if _, err := p.check(t.Context(), claimed(), p.memory.room(claimed())); !errors.Is(err, p.store.pauseErr) {
		t.Errorf("error: got %v, want the fault, for asynq to run the task again", err)
	}
}

func TestRingIsReadNowAndThen(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	p.store.secrets = rows("accepted")
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {0, 1}, {ringAge - 1, 1}, {1, 2}, {ringAge - 1, 2}, {time.Hour, 3}} {
		p.clock.advance(step.after)
		p.mustCheck(t)
		if p.store.reads != step.want {
			t.Errorf("after %v more: read %d times, want %d", step.after, p.store.reads, step.want)
		}
	}
}

// TestAddedSecretIsTriedBeforeThePause adds a secret while a worker still has a
// copy of the ring without it.
func TestAddedSecretIsTriedBeforeThePause(t *testing.T) {
	t.Parallel()
	for name, states := range map[string][]string{"after a refused one": {"new"}, "after none": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := len(states) + 1
			apple := &passwords{accepts: []string{string(rune('0' + good))}}
			p := newParts(t, func(c *Config) { c.AppStore = apple })
			p.store.secrets = rows(states...)
			if err := p.secrets.of(app).refresh(t.Context(), p.secrets.of(app).begun); err != nil {
				t.Fatal(err)
			}
			p.store.secrets = rows(append(states, "new")...)
			if o := p.mustCheck(t); o.State != iap.ReceiptValid || p.store.paused != nil {
				t.Errorf("state %q, paused %v; want the secret that was added to be used", o.State, p.store.paused)
			}
		})
	}
}

// TestRetiredSecretIsSeenInTime retires a good secret after another was added.
func TestRetiredSecretIsSeenInTime(t *testing.T) {
	t.Parallel()
	apple := &passwords{accepts: []string{"1", "2"}}
	p := newParts(t, func(c *Config) { c.AppStore = apple })
	p.store.secrets = rows("accepted")
	p.mustCheck(t)
	p.store.secrets = rows("retired", "new")[1:]
	p.clock.advance(ringAge)
	p.store.markErr = errors.New("not looked at here")
	p.mustCheck(t)
	if diff := cmp.Diff([]string{"1", "2"}, apple.asked); diff != "" {
		t.Errorf("asked with (-want +got)\n%s", diff)
	}
}

func TestMarkThatFailsKeepsTheAnswer(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	p.store.markErr = errors.New("database is away")
	if o := p.mustCheck(t); o.State != iap.ReceiptValid {
		t.Errorf("state: got %q, want valid", o.State)
	}
	if diff := cmp.Diff([]string{"mark shared secret"}, p.log.at(slog.LevelWarn)); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
}

var errSealed = errors.New("unreadable with these keys")

type lostKeys struct{}

func (lostKeys) Open([]byte, string) (secret.Value, error) { return secret.Value{}, errSealed }

// TestUnreadableSecretIsOurFault must not look like an app without a secret.
func TestUnreadableSecretIsOurFault(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.Keys = lostKeys{} })
	if _, err := p.check(t.Context(), claimed(), p.memory.room(claimed())); !errors.Is(err, errSealed) {
		t.Errorf("error: got %v, want %v", err, errSealed)
	}
	if p.store.paused != nil {
		t.Errorf("paused: %v", p.store.paused)
	}
}
