package worker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// held is an Apple that keeps every request until it is let go, and then for a
// moment, and accepts some secrets.
type held struct {
	passwords
	gate chan struct{}
}

func (a *held) VerifyReceipt(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
	if err := r.Wait(ctx, iap.Production); err != nil {
		return appstore.Answer{Environment: r.Environment}, waited(err)
	}
	<-a.gate
	<-time.After(time.Millisecond) // on its way
	return a.passwords.VerifyReceipt(ctx, r)
}

func (a *held) count(password string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, asked := range a.asked {
		if asked == password {
			n++
		}
	}
	return n
}

// TestDeadSecretCostsWhatWasInFlight has a secret die while ten receipts are
// being asked about, with three more secrets of which the last is good, and
// fifty receipts to come.
func TestDeadSecretCostsWhatWasInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const inFlight, toCome = 10, 50
		apple := &held{passwords: passwords{accepts: []string{"4"}}, gate: make(chan struct{})}
		p := newParts(t, func(c *Config) { c.AppStore = apple })
		p.store.secrets = rows("accepted", "new", "new", "new")
		var all sync.WaitGroup
		ask := func() {
			all.Go(func() {
				if o := p.mustCheck(t); o.State != iap.ReceiptValid {
					t.Errorf("outcome: %+v; want every receipt asked about with the good secret", o)
				}
			})
		}
		for range inFlight {
			ask()
		}
		synctest.Wait()
		close(apple.gate)
		<-time.After(2 * time.Millisecond)
		for range toCome {
			ask()
		}
		all.Wait()
		want := map[string]int{"1": inFlight, "2": 1, "3": 1, "4": inFlight + toCome}
		for password, most := range want {
			if got := apple.count(password); got > most {
				t.Errorf("asked %d times with secret %s, want %d at most", got, password, most)
			}
		}
		if diff := cmp.Diff([]mark{{1, false}, {2, false}, {3, false}, {4, true}}, p.store.marks); diff != "" {
			t.Errorf("marks (-want +got)\n%s", diff)
		}
	})
}

// TestWaitForTheLimiterEndsWithTheSecret has receipts wait for their slots with
// a secret that dies meanwhile: none of them is asked about with it.
func TestWaitForTheLimiterEndsWithTheSecret(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	p.store.secrets = rows("accepted", "new")
	first, waiting := p.secrets.selection(app), p.secrets.selection(app)
	s, err := waiting.next(t.Context())
	if err != nil || s.id != 1 {
		t.Fatalf("first secret: %v, %v", s, err)
	}
	if _, err := first.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.learn(t.Context(), 1, apps.SecretRefused)
	if err := waiting.admit(1); !errors.Is(err, errSecretChanged) {
		t.Errorf("call with the dead secret: got %v, want %v", err, errSecretChanged)
	}
	if s, err := waiting.next(t.Context()); err != nil || s.id != 2 {
		t.Errorf("then: got %v and %v, want the other secret", s, err)
	}
}

// afterRefusal is a ring of which the first secret was refused, and a selection that is
// probing the second.
func afterRefusal(t *testing.T) (parts, *selection) {
	t.Helper()
	p := newParts(t, nil)
	p.store.secrets = rows("accepted", "new")
	probe := p.secrets.selection(app)
	for _, id := range []int64{1, 2} {
		if s, err := probe.next(t.Context()); err != nil || s.id != id {
			t.Fatalf("got %v and %v, want secret %d", s, err, id)
		}
		if err := probe.admit(id); err != nil {
			t.Fatal(err)
		}
		if id == 1 {
			probe.learn(t.Context(), 1, apps.SecretRefused)
		}
	}
	return p, probe
}

// TestProbeThatIsBrokenOffLetsTheNextTry has the one receipt that tries a secret
// end without a verdict, by whatever way.
func TestProbeThatIsBrokenOffLetsTheNextTry(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*selection){
		"broken off": (*selection).end,
		"no word":    func(t *selection) { t.learn(context.Background(), 2, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, probe := afterRefusal(t)
			next, late := p.secrets.selection(app), p.secrets.selection(app)
			end(probe)
			for _, selection := range []*selection{next, late} {
				if s, err := selection.next(t.Context()); err != nil || s.id != 2 {
					t.Fatalf("got %v and %v, want secret 2", s, err)
				}
			}
			if err := next.admit(2); err != nil {
				t.Errorf("the next probe: %v", err)
			}
			if err := late.admit(2); !errors.Is(err, errSecretChanged) {
				t.Errorf("beside the probe: got %v, want %v", err, errSecretChanged)
			}
		})
	}
}

// TestNotRefusedIsEnough lets all go on with a secret that Apple did not look at.
func TestNotRefusedIsEnough(t *testing.T) {
	t.Parallel()
	p, probe := afterRefusal(t)
	probe.learn(t.Context(), 2, apps.SecretNew)
	for range 2 {
		if err := p.secrets.selection(app).admit(2); err != nil {
			t.Errorf("side by side: %v", err)
		}
	}
	if diff := cmp.Diff([]mark{{1, false}}, p.store.marks); diff != "" {
		t.Errorf("marks (-want +got)\n%s", diff)
	}
}

// TestLateAnswerRevivesNoDeadSecret has an answer on its way that Apple gave
// before the secret died.
func TestLateAnswerRevivesNoDeadSecret(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	p.store.secrets = rows("accepted", "new")
	late, first := p.secrets.selection(app), p.secrets.selection(app)
	for _, selection := range []*selection{late, first} {
		if _, err := selection.next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := selection.admit(1); err != nil {
			t.Fatal(err)
		}
	}
	first.learn(t.Context(), 1, apps.SecretRefused)
	late.learn(t.Context(), 1, apps.SecretAccepted)
	if s, err := p.secrets.selection(app).next(t.Context()); err != nil || s.id != 2 {
		t.Errorf("got %v and %v, want the other secret", s, err)
	}
	if diff := cmp.Diff([]mark{{1, false}}, p.store.marks); diff != "" {
		t.Errorf("marks (-want +got)\n%s", diff)
	}
}

// TestLongProbeHoldsNobodyUp gives receipts back that wait for a verdict, and
// ends the wait of all when the worker stops.
func TestLongProbeHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, probe := afterRefusal(t)
		defer probe.end()
		o := p.mustCheck(t)
		if o.Asked || o.Calls != 0 || o.NextCheck.Rule != iap.RuleWait {
			t.Errorf("outcome: %+v; want it given back, to wait", o)
		}
		p.Worker.stop()
		started := time.Now()
		if o := p.mustCheck(t); o.Asked || o.NextCheck.Rule != "" || time.Since(started) > 0 {
			t.Errorf("outcome after %s: %+v; want it given back at once", time.Since(started), o)
		}
	})
}

// slowStore is a database that answers once it is let, and says when it is asked.
type slowStore struct {
	*fakeStore
	asked, answer chan struct{}
}

func (s *slowStore) SharedSecrets(ctx context.Context, bundleID string) ([]apps.SharedSecret, error) {
	s.asked <- struct{}{}
	<-s.answer
	return s.fakeStore.SharedSecrets(ctx, bundleID)
}

func (s *slowStore) MarkSharedSecret(ctx context.Context, id int64, accepted bool, at time.Time) error {
	s.asked <- struct{}{}
	<-s.answer
	return s.fakeStore.MarkSharedSecret(ctx, id, accepted, at)
}

// TestNobodyWaitsForADatabaseThatHangs has Postgres hang while the secrets of an
// app are read, and while one is marked: whoever has no time leaves, and what is
// known is used.
func TestNobodyWaitsForADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	store := &slowStore{&fakeStore{receipt: claimed(), secrets: rows("new")}, make(chan struct{}), make(chan struct{})}
	p := newParts(t, func(c *Config) { c.Store = store })
	var group sync.WaitGroup
	defer group.Wait()
	reader := p.secrets.selection(app)
	group.Go(func() {
		if s, err := reader.next(t.Context()); err != nil || s.id != 1 {
			t.Errorf("got %v and %v, want secret 1", s, err)
		}
	})
	<-store.asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.secrets.selection(app).next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("while it is read: %v, want %v", err, context.Canceled)
	}
	store.answer <- struct{}{}
	group.Wait()
	group.Go(func() { reader.learn(t.Context(), 1, apps.SecretAccepted) })
	<-store.asked
	if s, err := p.secrets.selection(app).next(ctx); err != nil || s.id != 1 {
		t.Errorf("while it is marked: %v and %v, want secret 1", s, err)
	}
	store.answer <- struct{}{}
}

// TestResumedByAPerson tries again what was refused before the pause.
func TestResumedByAPerson(t *testing.T) {
	t.Parallel()
	apple := &passwords{}
	p := newParts(t, func(c *Config) { c.AppStore = apple })
	p.mustCheck(t)
	p.mustCheck(t)
	if n := len(apple.asked); n != 1 || len(p.store.paused) == 0 {
		t.Fatalf("%d calls and %v; want one, and the app paused", n, p.store.paused)
	}
	p.clock.advance(time.Second)
	apple.accepts = []string{"1"}
	if o := p.mustCheck(t); o.State != iap.ReceiptValid {
		t.Errorf("outcome: %+v; want the secret tried again", o)
	}
}
