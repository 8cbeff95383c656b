package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// poisoned is a store over which the program stumbles where an outcome has a
// conclusion of the receipt.
type poisoned struct {
	*fakeStore
	id int64
}

func (s poisoned) SaveOutcomes(ctx context.Context, outcomes []claim.Outcome) ([]claim.Saved, error) {
	for _, o := range outcomes {
		if o.ReceiptID == s.id && o.Conclusion != nil {
			panic("receipt data of a customer")
		}
	}
	return s.fakeStore.SaveOutcomes(ctx, outcomes)
}

// TestPanicIsAFailureOfItsReceipt stumbles in different places, and looks at the
// outcome and the log.
func TestPanicIsAFailureOfItsReceipt(t *testing.T) {
	t.Parallel()
	apple := func(cause func()) func(*Config) {
		return func(c *Config) {
			c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
				cause()
				return accepted(), nil
			})
		}
	}
	var nothing map[string]int
	for name, test := range map[string]struct {
		change func(*Config)
		cause  string
	}{
		"while it asks":           {apple(func() { panic("receipt data of a customer") }), "string"},
		"with an error":           {apple(func() { panic(errors.New("receipt data of a customer")) }), "*errors.errorString"},
		"by a fault of the code":  {apple(func() { nothing["x"] = 1 }), "assignment to entry in nil map"},
		"while it saves":          {func(c *Config) { c.Store = poisoned{c.Store.(*fakeStore), 7} }, "panicked on the receipt: string"},
		"and the batch goes with": {func(c *Config) { c.Store, c.BatchDelay = poisoned{c.Store.(*fakeStore), 7}, time.Millisecond }, "panicked on the receipt: string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text syncText
			p := newParts(t, func(c *Config) {
				c.Logger = slog.New(slog.NewTextHandler(&text, nil))
				test.change(c)
			})
			o := p.mustHandle(t)
			if o.Failure != "panicked" || !o.Asked || o.State != "" || o.NextCheck.Rule != iap.RuleRetry {
				t.Errorf("outcome %+v, want a failure that is tried again", o)
			}
			if got := text.String(); !strings.Contains(got, test.cause) || !strings.Contains(got, "panic_test.go") {
				t.Errorf("log: %s\nwant %q and the stack", got, test.cause)
			}
			if strings.Contains(text.String(), "receipt data") {
				t.Errorf("the log quotes the receipt: %s", &text)
			}
		})
	}
}

// TestPanicLeavesTheOthersAlone stores many outcomes in one batch with the one
// over which the program stumbles.
func TestPanicLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) {
		c.Store, c.BatchDelay, c.BatchSize = poisoned{c.Store.(*fakeStore), 4}, time.Hour, 8
	})
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, errs[i] = p.batch.share(t.Context(), claim.Outcome{ReceiptID: int64(i), Conclusion: &iap.Conclusion{}})
		})
	}
	all.Wait()
	got := make([]string, len(errs))
	for i, err := range errs {
		got[i] = fmt.Sprint(errors.Is(err, errPanicked), err == nil)
	}
	want := []string{"false true", "false true", "false true", "false true", "true false", "false true", "false true", "false true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stumbled and saved (-want +got)\n%s", diff)
	}
}

// syncText is text that several may write to.
type syncText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *syncText) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *syncText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
