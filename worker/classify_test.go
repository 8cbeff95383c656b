package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
	"revalidator/internal/ratelimit"
)

// verdictTest is an error as the client returns it, and what must become of a
// receipt that failed for the first time.
type verdictTest struct {
	name string
	err  error
	// notSent is true where the error came before any request.
	notSent bool
	want    claim.Outcome
	// alarm is whether a person is called, blocked for how long nobody may
	// call for the app, paused why the app is stopped.
	alarm   bool
	blocked time.Duration
	paused  string
}

func asked(err error) error  { return fmt.Errorf("ask %s: %w", iap.Production, err) }
func waited(err error) error { return fmt.Errorf("wait to ask %s: %w", iap.Production, err) }
func httpStatus(n int) error { return asked(&appstore.HTTPError{StatusCode: n}) }
func status(code int) error  { return asked(&appstore.StatusError{Code: appstore.Code(code)}) }
func final(code int) error {
	return asked(&appstore.StatusError{Code: appstore.Code(code), Retryable: new(bool)})
}
func connection(e error) error {
	return asked(fmt.Errorf("%w: %w", appstore.ErrConnection, &net.OpError{Op: "read", Err: e}))
}

// givenBack is an outcome of a receipt that was not asked about.
func givenBack(class string, wait time.Duration) claim.Outcome {
	o := claim.Outcome{Failure: class, Stays: true}
	if wait > 0 {
		o.NextCheck = iap.Check{At: noon.Add(wait), Rule: iap.RuleWait}
	}
	return o
}

// putOff is an outcome of a reply that is not believed.
func putOff(class string) claim.Outcome {
	o := givenBack(class, time.Minute+time.Minute/8)
	o.NextCheck.Rule = iap.RuleClockDiffers
	return o
}

// retried is a failure after which the receipt is asked about again in its run.
func retried(class string, codes ...int) claim.Outcome {
	return failed(class, 30*time.Second, iap.RuleRetry, true, codes...)
}

func failed(class string, wait time.Duration, rule iap.Rule, stays bool, codes ...int) claim.Outcome {
	o := claim.Outcome{Failure: class, Asked: true, Stays: stays, NextCheck: iap.Check{At: noon.Add(wait), Rule: rule}}
	for _, code := range codes {
		o.Code = &code
	}
	return o
}

// confirmed is a failure after which the receipt is checked again on another day.
func confirmed(class string, codes ...int) claim.Outcome {
	return failed(class, 24*time.Hour, iap.RuleConfirm, false, codes...)
}

// believedAtOnce is confirmed where one failure is enough.
func believedAtOnce(class string, state iap.ReceiptState) claim.Outcome {
	o := confirmed(class)
	o.Verdict = &quarantine.Verdict{State: state, NextCheck: iap.Check{Rule: iap.RuleSetAside}}
	return o
}

// verdictTests has at least one row for each line of the tables of the worker and of verifyReceipt.
func verdictTests() []verdictTest {
	return []verdictTest{
		{name: "worker stops while it waits", err: waited(context.Canceled), notSent: true, want: givenBack("", 0)},
		{name: "worker stops while it asks", err: asked(context.Canceled), want: givenBack("", 0)},
		{
			name: "breaker open", err: waited(&ratelimit.OpenError{RetryAfter: 20 * time.Second}), notSent: true,
			want: claim.Outcome{Failure: "held_back", Stays: true, NextCheck: iap.Check{At: noon.Add(20*time.Second + 20*time.Second/8), Rule: iap.RuleHeldBack}},
		},
		{name: "a result that is never stored", err: fmt.Errorf("%w: %w", errSaveRefused, database.ErrRefused), want: retried("save_refused"), alarm: true},
		{name: "a panic", err: errPanicked, want: retried("panicked")},
		{name: "queue lost while waiting", err: waited(ratelimit.ErrForgotten), notSent: true, want: claim.Outcome{Stays: true}},
		{name: "clock differs", err: &clockError{ahead: time.Hour}, want: putOff("clock_differs")},
		{name: "clock differs, and is wrong", err: &clockError{ahead: time.Hour, wrong: true}, want: givenBack("clock_differs", 0)},
		{name: "reply without a time", err: asked(appstore.ErrNoTime), want: putOff("reply_without_time"), alarm: true},
		{name: "held for the clock", err: waited(errClockWrong), notSent: true, want: givenBack("clock_wrong", 0)},
		{name: "limiter busy", err: waited(&ratelimit.BusyError{RetryAfter: 90 * time.Second}), notSent: true, want: givenBack("limiter_busy", 90*time.Second+90*time.Second/8)},
		{name: "limiter unavailable", err: waited(fmt.Errorf("%w: refused", ratelimit.ErrUnavailable)), notSent: true, want: givenBack("limiter_unavailable", 5*time.Second)},
		{name: "claim lost while waiting", err: waited(claim.ErrLost), notSent: true, want: claim.Outcome{Stays: true}},
		{
			name: "waited for longer than the task may take", err: waited(fmt.Errorf("%w: %v", errWaitedTooLong, context.DeadlineExceeded)), notSent: true,
			want: givenBack("waited_too_long", 5*time.Second),
		},
		{name: "no memory", err: errNoRoom, notSent: true, want: givenBack("memory_full", 5*time.Second)},
		{name: "HTTP 429", err: httpStatus(429), want: givenBack("rate_limited", 30*time.Second), blocked: 30 * time.Second},
		{
			name: "HTTP 429 with Retry-After", err: asked(&appstore.HTTPError{StatusCode: 429, RetryAfter: noon.Add(7 * time.Minute)}),
			want: givenBack("rate_limited", 7*time.Minute), blocked: 7 * time.Minute,
		},
		{
			name: "HTTP 429 with Retry-After in the past", err: asked(&appstore.HTTPError{StatusCode: 429, RetryAfter: noon.Add(-time.Minute)}),
			want: givenBack("rate_limited", 30*time.Second), blocked: 30 * time.Second,
		},

		{name: "another receipt tries a secret", err: waited(errProbing), notSent: true, want: givenBack("shared_secret_selection", 5*time.Second)},
		{name: "no secret", err: fmt.Errorf("%w: %s", errNoSecret, app), notSent: true, want: givenBack("no_shared_secret", 0), paused: apps.PausedNoSecret},
		{name: "21004", err: status(21004), want: givenBack("shared_secret_refused", 0), paused: apps.PausedSecretRefused},

		{name: "21002", err: status(21002), want: retried("receipt_malformed", 21002)},
		{name: "21003", err: status(21003), want: retried("receipt_not_authenticated", 21003), alarm: true},
		{name: "21010", err: final(21010), want: confirmed("account_gone", 21010)},
		{name: "another app", err: asked(&appstore.WrongAppError{Want: app, Got: "com.example.fitness"}), want: confirmed("wrong_app"), alarm: true},
		{name: "HTTP 413 near the limit", err: asked(&appstore.HTTPError{StatusCode: 413, NearLimit: true}), want: confirmed("request_too_large")},
		{name: "HTTP 413 far below the limit", err: httpStatus(413), want: retried("proxy_refused_size"), alarm: true},
		{name: "too large to be sent", err: fmt.Errorf("%w: 9 bytes, may be 8", appstore.ErrTooLargeToSend), notSent: true, want: believedAtOnce("too_large_to_send", iap.ReceiptTooLarge)},

		{name: "21005", err: status(21005), want: retried("apple_unavailable", 21005)},
		{name: "21009", err: status(21009), want: retried("apple_unavailable", 21009)},
		{name: "-1", err: status(-1), want: retried("apple_unavailable", -1)},
		{name: "21100", err: status(21100), want: retried("apple_unavailable", 21100)},
		{name: "21199 for good", err: final(21199), want: failed("apple_internal_error", 24*time.Hour, iap.RuleRetry, false, 21199), alarm: true},
		{name: "21007 once more", err: status(21007), want: retried("environments_disagree", 21007), alarm: true},
		{name: "21008 once more", err: status(21008), want: retried("environments_disagree", 21008), alarm: true},
		{name: "21000", err: status(21000), want: retried("request_refused", 21000), alarm: true},
		{name: "21001", err: status(21001), want: retried("request_refused", 21001), alarm: true},
		{name: "21042", err: status(21042), want: retried("unknown_status", 21042), alarm: true},

		{name: "our own time limit", err: asked(appstore.ErrTimeout), want: retried("timeout")},
		{name: "the task's time limit", err: asked(context.DeadlineExceeded), want: retried("timeout")},
		{name: "connection reset", err: connection(syscall.ECONNRESET), want: retried("connection_failed")},
		{name: "HTTP 500", err: httpStatus(500), want: retried("server_error")},
		{name: "HTTP 503", err: httpStatus(503), want: retried("server_error")},
		{name: "HTTP 302", err: httpStatus(302), want: retried("http_status"), alarm: true},
		{name: "HTTP 403", err: httpStatus(403), want: retried("http_status"), alarm: true},
		{name: "empty reply", err: asked(appstore.ErrEmptyReply), want: retried("reply_empty")},
		{name: "HTML", err: asked(appstore.ErrNotJSON), want: retried("reply_not_json")},
		{name: "cut reply", err: asked(appstore.ErrCutReply), want: retried("reply_cut")},
		{name: "no status", err: asked(appstore.ErrNoStatus), want: retried("reply_malformed"), alarm: true},
		{name: "an id of 3,000 bytes", err: asked(appstore.ErrUnusableText), want: retried("reply_malformed"), alarm: true},
		{name: "21006 with an active period", err: asked(appstore.ErrContradiction), want: retried("reply_malformed"), alarm: true},
		{name: "more memory than there is", err: asked(errNeverRoom), want: retried("reply_too_large"), alarm: true},
		{name: "no bundle id", err: asked(appstore.ErrNoBundleID), want: retried("reply_malformed"), alarm: true},
		{name: "reply too large", err: asked(appstore.ErrReplyTooLarge), want: retried("reply_too_large"), alarm: true},
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, test := range verdictTests() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

// run lets the error come in place of an answer and compares all that follows.
func (test verdictTest) run(t *testing.T) {
	t.Helper()
	p := newParts(t, nil)
	answer := Answer{Environment: iap.Production, Calls: 1}
	if test.notSent {
		answer.Calls = 0
	}
	got, err := p.conclude(t.Context(), claimed(), answer, test.err)
	if err != nil {
		t.Fatal(err)
	}
	want := test.want
	want.ReceiptID, want.Generation, want.RunID, want.BundleID, want.At = 7, 3, 5, app, noon
	want.Calls, want.Environment = answer.Calls, answer.Environment
	if classified(test.err).Action == Disregard {
		want.Environment = "" // nothing is learned
	}
	if diff := cmp.Diff(want, got, noPolicy); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
	if alarm := len(p.log.at(slog.LevelWarn)) > 0; alarm != test.alarm {
		t.Errorf("alarm: got %t, want %t", alarm, test.alarm)
	}
	var blocked map[string]time.Duration
	if test.blocked > 0 {
		blocked = map[string]time.Duration{app + "/verify_receipt:Production": test.blocked}
	}
	if diff := cmp.Diff(blocked, p.limiter.blocked); diff != "" {
		t.Errorf("blocked budgets (-want +got)\n%s", diff)
	}
	var paused []string
	if test.paused != "" {
		paused = []string{test.paused}
	}
	if diff := cmp.Diff(paused, p.store.paused); diff != "" {
		t.Errorf("reasons of pauses (-want +got)\n%s", diff)
	}
}

// TestEveryVerdictIsTested fails when a line is added to the table without a
// row above.
func TestEveryVerdictIsTested(t *testing.T) {
	t.Parallel()
	met := map[error]bool{}
	for _, test := range verdictTests() {
		met[classified(test.err).Err] = true
	}
	label := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for _, v := range allClasses() {
		if !met[v.Err] {
			t.Errorf("no row for %q", v.Err)
		}
		if !label.MatchString(v.Name) {
			t.Errorf("class %q of %q: want a label in snake case", v.Name, v.Err)
		}
	}
}

func TestClassifyTakesTheFirstLine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"stopped, which made the connection fail":   {connection(context.Canceled), "stopped"},
		"stopped after a code":                      {errors.Join(status(21005), context.Canceled), "stopped"},
		"out of time, which made it fail":           {connection(context.DeadlineExceeded), "timeout"},
		"busy, which is no fault of the connection": {errors.Join(appstore.ErrConnection, &ratelimit.BusyError{}), "limiter_busy"},
		"429 is no other HTTP status":               {errors.Join(appstore.ErrHTTPStatus, httpStatus(429)), "rate_limited"},
		"a refused secret comes before the receipt": {errors.Join(status(21003), status(21004)), "shared_secret_refused"},
		"a wrong app comes before a bad reply":      {errors.Join(appstore.ErrMalformedReply, appstore.ErrWrongApp), "wrong_app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := classified(test.err).Name; got != test.want {
				t.Errorf("class: got %s, want %s", got, test.want)
			}
		})
	}
}

// TestUnknownErrorIsOurFault leaves the receipt alone and the claim in hand.
func TestUnknownErrorIsOurFault(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	fault := fmt.Errorf("read receipt: %w", io.ErrUnexpectedEOF)
	got, err := p.conclude(t.Context(), claimed(), Answer{Calls: 1}, fault)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error: got %v, want the fault itself, for asynq to run the task again", err)
	}
	if diff := cmp.Diff(claim.Outcome{}, got); diff != "" {
		t.Errorf("outcome (-want +got)\n%s", diff)
	}
	if v := classified(fault); v.Name != "internal_fault" || !v.Alarm {
		t.Errorf("verdict: %+v, want an alarm as internal_fault", v)
	}
}
