package worker

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
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
	// State is what it is quarantined as.
	State iap.ReceiptState
}

// TestLadders lets the same answer come again and again, each time when the
// receipt is due.
func TestLadders(t *testing.T) {
	t.Parallel()
	retry := func(wait time.Duration, stays bool) rung { return rung{Wait: wait, Rule: iap.RuleRetry, Stays: stays} }
	retries := []rung{
		retry(30*time.Second, true), retry(time.Minute, true), retry(2*time.Minute, true), retry(4*time.Minute, true),
		// It leaves the run, and is counted as failed there.
		retry(8*time.Minute, false), retry(16*time.Minute, false), retry(32*time.Minute, false),
		retry(64*time.Minute, false), retry(128*time.Minute, false),
	}
	further := func(rungs ...rung) []rung { return append(retries[:len(retries):len(retries)], rungs...) }
	confirm := func(wait time.Duration) rung { return rung{Wait: wait, Rule: iap.RuleConfirm} }
	weekly := func(state iap.ReceiptState) rung { return rung{Wait: week, Rule: iap.RuleConfirm, State: state} }
	never := func(state iap.ReceiptState) rung { return rung{Rule: iap.RuleSetAside, State: state} }
	for name, test := range map[string]struct {
		err  error
		want []rung
	}{
		"21005 is tried again for ever": {status(21005), further(retry(256*time.Minute, false), retry(6*time.Hour, false), retry(6*time.Hour, false))},
		"21199 for good is tried daily": {final(21199), []rung{retry(aDay, false), retry(aDay, false), retry(aDay, false)}},
		// The tenth failure comes on the day of the first.
		"21002 is believed on another day":       {status(21002), further(confirm(aDay), weekly(iap.ReceiptMalformed), weekly(""))},
		"21003 is believed on another day":       {status(21003), further(confirm(aDay), weekly(iap.ReceiptNotAuthenticated), weekly(""))},
		"21010 is believed the third time":       {status(21010), []rung{confirm(aDay), confirm(week), never(iap.ReceiptAccountGone)}},
		"another app is believed the third time": {asked(&appstore.WrongAppError{}), []rung{confirm(aDay), confirm(week), never(iap.ReceiptWrongApp)}},
		"413 near the limit is believed the third time": {asked(&appstore.HTTPError{StatusCode: 413, NearLimit: true}), []rung{
			confirm(aDay), confirm(week), never(iap.ReceiptTooLarge),
		}},
		"413 of somebody else is tried again for ever": {httpStatus(413), further(retry(256*time.Minute, false), retry(6*time.Hour, false), retry(6*time.Hour, false))},
		"what cannot be sent is believed at once":      {appstore.ErrTooLargeToSend, []rung{never(iap.ReceiptTooLarge)}},
		"a panic is enough the third time":             {errPanicked, []rung{retry(30*time.Second, true), retry(time.Minute, true), never(iap.ReceiptQuarantined)}},
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
		o := p.failOnce(t, &r, cause)
		next := rung{Rule: o.NextCheck.Rule, Stays: o.Stays}
		if !o.NextCheck.At.IsZero() {
			next.Wait = o.NextCheck.At.Sub(p.clock.Now())
		}
		if r.State.Quarantined() && o.Verdict != nil {
			next.State = r.State
		}
		rungs = append(rungs, next)
		p.clock.advance(next.Wait)
	}
	return rungs
}

// failOnce fails a check of a receipt, makes of the receipt what the repository
// makes of it, and returns the outcome as it is stored: with the verdict, where
// there is one.
func (p parts) failOnce(t *testing.T, r *claim.Receipt, cause error) claim.Outcome {
	t.Helper()
	o, err := p.conclude(t.Context(), *r, Answer{Calls: 1}, cause)
	if err != nil {
		t.Fatal(err)
	}
	if o.Conclusion != nil || o.State != "" {
		t.Errorf("failure %d concludes something by itself: %+v", r.ConsecutiveFailures+1, o)
	}
	r.ConsecutiveFailures++
	r.FailuresAlike, r.AlikeDays = alike(*r, o.Failure, o.At)
	r.LastFailure, r.LastCheckedAt = o.Failure, o.At
	if o.Verdict != nil {
		r.State, o.NextCheck, o.Stays = o.Verdict.State, o.Verdict.NextCheck, false
	}
	return o
}

// TestOutsideARunNothingStays has a claim that no run made.
func TestOutsideARunNothingStays(t *testing.T) {
	t.Parallel()
	p := newParts(t, nil)
	r := claimed()
	r.RunID = 0
	for _, cause := range []error{status(21005), status(21002), waited(context.Canceled), httpStatus(429)} {
		o, err := p.conclude(t.Context(), r, Answer{}, cause)
		if err != nil || o.Stays {
			t.Errorf("%v: stays %t, error %v; want neither", cause, o.Stays, err)
		}
	}
}
