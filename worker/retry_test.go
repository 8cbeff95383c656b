package worker

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

func fixed(random float64) func() float64 { return func() float64 { return random } }

func TestBackoff(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		policy   RetryPolicy
		failures int
		want     time.Duration
	}{
		"first":                   {RetryPolicy{Random: fixed(0.5)}, 1, 30 * time.Second},
		"second":                  {RetryPolicy{Random: fixed(0.5)}, 2, time.Minute},
		"tenth":                   {RetryPolicy{Random: fixed(0.5)}, 10, 256 * time.Minute},
		"capped":                  {RetryPolicy{Random: fixed(0.5)}, 11, 6 * time.Hour},
		"beyond 64 bits":          {RetryPolicy{Random: fixed(0.5)}, 30, 6 * time.Hour},
		"far beyond":              {RetryPolicy{Random: fixed(0.5)}, math.MaxInt, 6 * time.Hour},
		"none yet":                {RetryPolicy{Random: fixed(0.5)}, 0, 30 * time.Second},
		"exactly the cap":         {RetryPolicy{Base: time.Hour, Max: 4 * time.Hour, Random: fixed(0.5)}, 3, 4 * time.Hour},
		"base beyond the cap":     {RetryPolicy{Base: day, Max: time.Hour, Random: fixed(0.5)}, 1, time.Hour},
		"least jitter":            {RetryPolicy{Random: fixed(0)}, 1, 22500 * time.Millisecond},
		"least jitter of the cap": {RetryPolicy{Random: fixed(0)}, 20, 270 * time.Minute},
		"most jitter":             {RetryPolicy{Random: fixed(math.Nextafter(1, 0))}, 1, 37500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.policy.fill()
			got := test.policy.backoff(test.failures)
			if diff := (got - test.want).Abs(); diff > time.Nanosecond {
				t.Errorf("wait after %d failures: got %v, want %v", test.failures, got, test.want)
			}
		})
	}
}

// TestBackoffOfAnyLength goes through an outage of a month.
func TestBackoffOfAnyLength(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{Random: fixed(0.5)}
	p.fill()
	last := time.Duration(0)
	for failures := range 200 {
		got := p.backoff(failures)
		if got < last || got > p.Max {
			t.Fatalf("wait after %d failures: got %v after %v before, at most %v", failures, got, last, p.Max)
		}
		last = got
	}
}

func TestJitterIsRandomByDefault(t *testing.T) {
	t.Parallel()
	var p RetryPolicy
	p.fill()
	met := map[time.Duration]bool{}
	for range 100 {
		got := p.backoff(1)
		met[got] = true
		if got < 22500*time.Millisecond || got >= 37500*time.Millisecond {
			t.Errorf("wait: got %v, want 30 s and a quarter to either side", got)
		}
	}
	if len(met) < 50 {
		t.Errorf("%d waits among 100 receipts that failed together", len(met))
	}
}

// rung is what becomes of a receipt at one failure of a row of them.
type rung struct {
	Wait  time.Duration // 0: never again
	Rule  iap.Rule
	Stays bool
	State iap.ReceiptState
}

// TestLadders lets the same answer come again and again.
func TestLadders(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	retry := func(wait time.Duration, stays bool) rung { return rung{Wait: wait, Rule: iap.RuleRetry, Stays: stays} }
	retries := []rung{
		retry(30*time.Second, true), retry(time.Minute, true), retry(2*time.Minute, true), retry(4*time.Minute, true),
		// It leaves the run, and is counted as failed there.
		retry(8*time.Minute, false), retry(16*time.Minute, false), retry(32*time.Minute, false),
		retry(64*time.Minute, false), retry(128*time.Minute, false),
	}
	believed := func(state iap.ReceiptState) []rung {
		rest := rung{Wait: 7 * day, Rule: iap.RuleConfirm, State: state}
		return append(retries[:len(retries):len(retries)], rest, rest)
	}
	for name, test := range map[string]struct {
		err  error
		want []rung
	}{
		"21005 is tried again for ever": {status(21005), append(retries[:len(retries):len(retries)], retry(256*time.Minute, false), retry(6*time.Hour, false), retry(6*time.Hour, false))},
		"21199 for good is tried daily": {final(21199), []rung{retry(day, false), retry(day, false), retry(day, false)}},
		"21002 is believed in the end":  {status(21002), believed(iap.ReceiptMalformed)},
		"21003 is believed in the end":  {status(21003), believed(iap.ReceiptNotAuthenticated)},
		"21010 is believed the third time": {status(21010), []rung{
			{Wait: day, Rule: iap.RuleConfirm},
			{Wait: 7 * day, Rule: iap.RuleConfirm},
			{Rule: iap.RuleSetAside, State: iap.ReceiptAccountGone},
			{Rule: iap.RuleSetAside, State: iap.ReceiptAccountGone},
		}},
		"another app is believed the third time": {asked(&appstore.WrongAppError{}), []rung{
			{Wait: day, Rule: iap.RuleConfirm},
			{Wait: 7 * day, Rule: iap.RuleConfirm},
			{Rule: iap.RuleSetAside, State: iap.ReceiptWrongApp},
		}},
		"a panic is enough the third time": {errPanicked, []rung{
			retry(30*time.Second, true), retry(time.Minute, true), {Rule: iap.RuleSetAside, State: iap.ReceiptQuarantined},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			if diff := cmp.Diff(test.want, p.climb(t, test.err, len(test.want))); diff != "" {
				t.Errorf("failure after failure (-want +got)\n%s", diff)
			}
		})
	}
}

func (p parts) climb(t *testing.T, cause error, times int) []rung {
	t.Helper()
	var rungs []rung
	r := claimed()
	for range times {
		o, err := p.conclude(t.Context(), r, appstore.Answer{Calls: 1}, cause)
		if err != nil {
			t.Fatal(err)
		}
		next := rung{Rule: o.NextCheck.Rule, Stays: o.Stays, State: o.State}
		if !o.NextCheck.At.IsZero() {
			next.Wait = o.NextCheck.At.Sub(noon)
		}
		if o.Conclusion != nil {
			t.Errorf("failure %d concludes something of the subscriptions", r.ConsecutiveFailures+1)
		}
		rungs = append(rungs, next)
		failedOnce(&r, o.Failure)
	}
	return rungs
}

// failedOnce makes of a receipt what the repository makes of it after a failure.
func failedOnce(r *ledger.Receipt, class string) {
	r.ConsecutiveFailures++
	if r.LastFailure != class {
		r.FailuresAlike = 0
	}
	r.LastFailure, r.FailuresAlike = class, r.FailuresAlike+1
}

// TestAcceptedReceiptsAreTrusted has Apple say for a day and a half that receipts
// are bad that it has accepted before.
func TestAcceptedReceiptsAreTrusted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cause error
		times int // that it is said and not believed; -1 is for ever
	}{
		"21002":       {status(21002), 29},
		"21003":       {status(21003), 29},
		"another app": {asked(&appstore.WrongAppError{}), -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, nil)
			r := claimed()
			r.State = iap.ReceiptValid
			for i := range 40 {
				o, err := p.conclude(t.Context(), r, appstore.Answer{Calls: 1}, test.cause)
				if err != nil {
					t.Fatal(err)
				}
				if believed := o.State != ""; believed != (test.times >= 0 && i >= test.times) || o.NextCheck.At.IsZero() {
					t.Fatalf("the %d. time: state %q, next check %v", i+1, o.State, o.NextCheck)
				}
				failedOnce(&r, o.Failure)
			}
		})
	}
}

// TestOtherTroubleAccusesNobody has Apple in trouble for long before it first
// says something about the receipt.
func TestOtherTroubleAccusesNobody(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	for _, cause := range []error{status(21002), status(21003), status(21010)} {
		r := claimed()
		for range 30 {
			failedOnce(&r, "timeout")
		}
		o, err := p.conclude(t.Context(), r, appstore.Answer{Calls: 1}, cause)
		if err != nil {
			t.Fatal(err)
		}
		if o.State != "" || o.NextCheck.At.IsZero() {
			t.Errorf("%v for the first time, after 30 timeouts: state %q, next check %v; want neither a state nor the end", cause, o.State, o.NextCheck)
		}
	}
}

// TestOutsideARunNothingStays has a claim that no run made.
func TestOutsideARunNothingStays(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	r := claimed()
	r.RunID = 0
	for _, cause := range []error{status(21005), status(21002), waited(context.Canceled), httpStatus(429)} {
		o, err := p.conclude(t.Context(), r, appstore.Answer{}, cause)
		if err != nil || o.Stays {
			t.Errorf("%v: stays %t, error %v; want neither", cause, o.Stays, err)
		}
	}
}
