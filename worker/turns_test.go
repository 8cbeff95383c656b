package worker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
)

// ends is an Apple that waits for its slot and ends each call in the same
// way, as the real client does.
func ends(end error) appStore {
	return func(ctx context.Context, r appstore.Request) (appstore.Answer, error) {
		if err := r.Wait(ctx, iap.Production); err != nil {
			return appstore.Answer{}, waited(err)
		}
		r.Heard(ctx, iap.Production, end)
		if end != nil {
			return appstore.Answer{Environment: iap.Production, Calls: 1}, asked(end)
		}
		return accepted(), nil
	}
}

// TestWhatIsHeardOfApple has a row for each signal, and for what an accusation
// is taken for.
func TestWhatIsHeardOfApple(t *testing.T) {
	t.Parallel()
	fresh := func(*claim.Receipt) {}
	valid := func(r *claim.Receipt) { r.State, r.AcceptedAt = iap.ReceiptValid, noon.Add(-week) }
	again := func(r *claim.Receipt) { valid(r); r.LastFailure = "receipt_malformed" }
	for name, test := range map[string]struct {
		receipt func(*claim.Receipt)
		end     error
		want    ratelimit.Signal
		why     string
	}{
		"a success":                     {fresh, nil, answered, ""},
		"21003":                         {fresh, status(21003), answered, "receipt_not_authenticated"},
		"the other environment":         {fresh, status(21007), answered, "environments_disagree"},
		"429":                           {fresh, httpStatus(429), limited, "rate_limited"},
		"403":                           {fresh, httpStatus(403), distress, "http_status"},
		"503":                           {fresh, httpStatus(503), distress, "server_error"},
		"a timeout":                     {fresh, asked(appstore.ErrTimeout), distress, "timeout"},
		"21005":                         {fresh, status(21005), distress, "apple_unavailable"},
		"21199 for good":                {fresh, final(21199), distress, "apple_internal_error"},
		"HTML":                          {fresh, asked(appstore.ErrNotJSON), distress, "reply_not_json"},
		"413 of a proxy":                {fresh, httpStatus(413), ratelimit.Oversized, "proxy_refused_size"},
		"413 near the limit":            {fresh, asked(&appstore.HTTPError{StatusCode: 413, NearLimit: true}), answered, "request_too_large"},
		"21000 is our fault":            {fresh, status(21000), unclear, "request_refused"},
		"a database that went away":     {fresh, errors.New("read receipt"), unclear, "internal_fault"},
		"21002 for the first time":      {fresh, status(21002), malformed, "receipt_malformed"},
		"21002 of a good receipt":       {valid, status(21002), malformed, "receipt_malformed"},
		"21002 once more":               {again, status(21002), unclear, "receipt_malformed"},
		"a receipt of another app":      {fresh, &appstore.WrongAppError{}, answered, "wrong_app"},
		"a good one of another app now": {valid, &appstore.WrongAppError{}, malformed, "wrong_app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, func(c *Config) { c.AppStore = ends(test.end) })
			test.receipt(&p.store.receipt)
			if _, err := p.check(t.Context(), p.store.receipt, p.memory.room(p.store.receipt)); err != nil && test.why != "internal_fault" {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]report{{app + "/verify_receipt:Production/up to 8 KiB", test.want, test.why}}, p.limiter.reports); diff != "" {
				t.Errorf("reported (-want +got)\n%s", diff)
			}
		})
	}
}

// TestTroubleWhileHeldBackCountsNothing has the answer to a call come when the
// breaker is open already: the receipt has no part in it.
func TestTroubleWhileHeldBackCountsNothing(t *testing.T) {
	t.Parallel()
	givenBack := claim.Outcome{
		ReceiptID: 7, Generation: 3, RunID: 5, BundleID: app, At: noon, Stays: true, Environment: iap.Production, Calls: 1,
		Failure: "held_back", NextCheck: iap.Check{At: noon.Add(time.Minute + time.Minute/8), Rule: iap.RuleHeldBack},
	}
	for name, end := range map[string]error{"503": httpStatus(503), "21002": status(21002), "timeout": appstore.ErrTimeout} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, func(c *Config) { c.AppStore = ends(end) })
			p.limiter.verdict = ratelimit.Verdict{Open: true, RetryAfter: time.Minute}
			if diff := cmp.Diff(givenBack, p.mustHandle(t), noPolicy); diff != "" {
				t.Errorf("outcome (-want +got)\n%s", diff)
			}
		})
	}
	t.Run("a success is kept", func(t *testing.T) {
		t.Parallel()
		p := newParts(t, func(c *Config) { c.AppStore = ends(nil) })
		p.limiter.verdict = ratelimit.Verdict{Open: true, RetryAfter: time.Minute}
		if o := p.mustHandle(t); o.Conclusion == nil {
			t.Errorf("outcome %+v, want what Apple said", o)
		}
	})
	t.Run("so is an accusation that is no sign of trouble", func(t *testing.T) {
		t.Parallel()
		p := newParts(t, func(c *Config) { c.AppStore = ends(status(21003)) })
		p.limiter.verdict = ratelimit.Verdict{Open: true, RetryAfter: time.Minute}
		if o := p.mustHandle(t); o.Failure != "receipt_not_authenticated" {
			t.Errorf("outcome %+v, want what Apple said", o)
		}
	})
}

func TestBreakerIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		verdict ratelimit.Verdict
		level   slog.Level
		want    string
	}{
		"opens for all": {
			ratelimit.Verdict{Open: true, Opened: true, Everybody: true}, slog.LevelError,
			"Apple is failing for most apps: calls are held back for all, and nothing is lost",
		},
		"opens":  {ratelimit.Verdict{Open: true, Opened: true}, slog.LevelError, "calls for an app fail: they are held back, and nothing is lost"},
		"closes": {ratelimit.Verdict{Closed: true}, slog.LevelInfo, "calls are answered again: they are resumed"},
		"halves": {ratelimit.Verdict{Halved: true}, slog.LevelWarn, "Apple shows distress: the rate is halved, and creeps back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, func(c *Config) { c.AppStore = ends(httpStatus(503)) })
			p.limiter.verdict = test.verdict
			p.mustHandle(t)
			if diff := cmp.Diff([]string{test.want}, p.log.at(test.level)); diff != "" {
				t.Errorf("logged (-want +got)\n%s", diff)
			}
		})
	}
}
