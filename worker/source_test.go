package worker

import (
	"context"
	"errors"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
)

var (
	errKeyRefused = errors.New("401")
	errKeyLimited = errors.New("429")
	errNotThere   = errors.New("4040010")
)

// signed is a source of another kind: with keys, codes and limits of its own.
type signed struct {
	end    error
	paused []string
}

func (s *signed) Check(ctx context.Context, r claim.Receipt, g Gate) (Answer, error) {
	at := apps.Endpoint{Environment: iap.Sandbox, Class: "history"}
	if err := g.Wait(ctx, at); err != nil {
		return Answer{}, err
	}
	g.Heard(ctx, at, s.end)
	if s.end != nil {
		return Answer{Environment: iap.Sandbox, Endpoint: at.Class, Calls: 1}, s.end
	}
	if err := g.Replied(ctx, at, noon); err != nil {
		return Answer{Calls: 1}, err
	}
	a := Answer{Environment: iap.Sandbox, Calls: 1, Facts: accepted().Facts}
	a.Facts.Environment = iap.Sandbox
	return a, nil
}

func (*signed) Classes() []Class {
	return []Class{
		{Err: errKeyRefused, Name: "key_refused", Action: PauseApp, Pause: "key_refused", Fix: "add a key", Signal: answered},
		{Err: errKeyLimited, Name: "key_limited", Action: WaitForLimit, Signal: limited},
		{Err: errNotThere, Name: "not_there", Action: RetryDaily, Signal: answered},
	}
}

func (*signed) Details(err error) Details {
	if errors.Is(err, errNotThere) {
		return Details{Code: new(4040010)}
	}
	return Details{RetryAfter: noon.Add(time.Minute)}
}

func (s *signed) Paused(bundleID string) { s.paused = append(s.paused, bundleID) }

// TestAnotherSource has the worker check a receipt by a source that it knows
// nothing of.
func TestAnotherSource(t *testing.T) {
	t.Parallel()
	const budget = app + "/signed:Sandbox:history"
	for name, test := range map[string]struct {
		end     error
		want    claim.Outcome
		heard   ratelimit.Signal
		blocked map[string]time.Duration
		paused  []string
	}{
		"an answer": {want: claim.Outcome{Asked: true, State: iap.ReceiptValid}, heard: answered},
		"an error of its own": {
			end: errNotThere, heard: answered,
			want: claim.Outcome{Asked: true, Failure: "not_there", Code: new(4040010), NextCheck: iap.Check{At: noon.Add(aDay), Rule: iap.RuleRetry}},
		},
		"a limit": {
			end: errKeyLimited, heard: limited, blocked: map[string]time.Duration{budget: time.Minute},
			want: claim.Outcome{Failure: "key_limited", Stays: true, NextCheck: iap.Check{At: noon.Add(time.Minute), Rule: iap.RuleWait}},
		},
		"a credential that is refused": {
			end: errKeyRefused, heard: answered, paused: []string{"key_refused"},
			want: claim.Outcome{Failure: "key_refused", Stays: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &signed{end: test.end}
			p := newParts(t, func(c *Config) {
				c.AppStore = never(t)
				c.Sources = map[apps.Source]Source{"signed": source}
			})
			p.store.receipt.App.Source = "signed"
			var booked []string
			p.limiter.wait = func(_ context.Context, key string, _ ratelimit.Rate) error {
				booked = append(booked, key)
				return nil
			}
			got := p.mustHandle(t)
			want := test.want
			want.ReceiptID, want.Generation, want.RunID, want.BundleID, want.At = 7, 3, 5, app, noon
			want.Calls, want.Environment = 1, iap.Sandbox
			if test.end == nil {
				if got.Conclusion == nil || len(got.Conclusion.Subscriptions) != 1 {
					t.Errorf("conclusion %+v, want what the source said", got.Conclusion)
				}
				got.Conclusion, got.Backoff = nil, 0
			}
			if diff := cmp.Diff(want, got, noPolicy); diff != "" {
				t.Errorf("outcome (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff([]string{budget + "/up to 8 KiB"}, booked); diff != "" {
				t.Errorf("booked (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff([]report{{budget + "/up to 8 KiB", test.heard, test.want.Failure}}, p.limiter.reports); diff != "" {
				t.Errorf("reported (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.blocked, p.limiter.blocked); diff != "" {
				t.Errorf("blocked (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.paused, p.store.paused); diff != "" {
				t.Errorf("paused for (-want +got)\n%s", diff)
			}
			if len(source.paused) != len(test.paused) || len(p.log.at(slog.LevelError)) != len(test.paused) {
				t.Errorf("the source was told of pauses of %v, and logged was %v", source.paused, p.log.at(slog.LevelError))
			}
		})
	}
}

// TestUnknownSourceIsOurFault leaves a receipt to a worker that knows its source.
func TestUnknownSourceIsOurFault(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	p.store.receipt.App.Source = "of next year"
	if err := p.Handle(t.Context(), task()); err == nil || !strings.Contains(err.Error(), "upgrade the worker") {
		t.Errorf("error: %v, want what to do", err)
	}
}

// TestOnlyItsSourceKnowsVerifyReceipt keeps the client, and all that it says, behind
// the seam.
func TestOnlyItsSourceKnowsVerifyReceipt(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "worker.go" || strings.HasPrefix(name, "verifyreceipt") || strings.HasPrefix(name, "ring") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if path := strings.Trim(i.Path.Value, `"`); path == "revalidator/internal/appstore" || path == "revalidator/internal/secret" && name != "store.go" {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
