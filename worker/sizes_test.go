package worker

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/ledger"
	"revalidator/internal/ratelimit"
)

func TestSizeName(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		1: "up to 8 KiB", 3000: "up to 8 KiB", 6141: "up to 8 KiB", 6144: "8 to 16 KiB", 12285: "8 to 16 KiB",
		12288: "16 to 32 KiB", 196_608: "256 to 512 KiB", 500_000: "512 to 1024 KiB",
		786_432: "1 to 2 MiB", 2_200_000: "2 to 4 MiB", 5_000_000: "4 to 8 MiB",
	} {
		if got := sizeName(bytes); got != want {
			t.Errorf("a receipt of %d bytes: got %q, want %q", bytes, got, want)
		}
	}
}

// TestOnlyItsSizeHearsOfARefusal: the budget of the app does not, and that of the
// size costs nothing before, and for receipts of another size.
func TestOnlyItsSizeHearsOfARefusal(t *testing.T) {
	t.Parallel()
	var end error
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(ctx context.Context, r appstore.Request) (appstore.Answer, error) { return ends(end)(ctx, r) })
	})
	check := func(bytes int64, answer error) []report {
		t.Helper()
		p.limiter.reports, end = nil, answer
		r := claimed()
		r.ByteSize = bytes
		if _, err := p.check(t.Context(), r, p.memory.room(r)); err != nil {
			t.Fatal(err)
		}
		return p.limiter.reports
	}
	const whole, size, class = app + "/Production", app + "/Production/8 to 16 KiB", "proxy_refused_size"
	for _, step := range []struct {
		name  string
		bytes int64
		end   error
		want  []report
	}{
		{"a success before any", 9000, nil, []report{{whole, answered, ""}}},
		{"a refusal", 9000, httpStatus(413), []report{{whole, unclear, class}, {size, distress, class}}},
		{"a success of that size", 9000, nil, []report{{whole, answered, ""}, {size, answered, ""}}},
		{"trouble of Apple's", 9000, httpStatus(503), []report{{whole, distress, "server_error"}, {size, unclear, "server_error"}}},
		{"a smaller one", 3000, nil, []report{{whole, answered, ""}}},
		{"one near the limit", 9000, &appstore.HTTPError{StatusCode: 413, NearLimit: true}, []report{{whole, answered, "request_too_large"}, {size, answered, "request_too_large"}}},
	} {
		if diff := cmp.Diff(step.want, check(step.bytes, step.end)); diff != "" {
			t.Errorf("%s: reported (-want +got)\n%s", step.name, diff)
		}
	}
	p.clock.advance(watchedFor + time.Second)
	if diff := cmp.Diff([]report{{whole, answered, ""}}, check(9000, nil)); diff != "" {
		t.Errorf("long after it: reported (-want +got)\n%s", diff)
	}
}

// TestRefusedSizesAreHeldBack has the breaker of a size open: a receipt of it is
// not asked about, and a refusal that comes then does not count.
func TestRefusedSizesAreHeldBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = ends(httpStatus(413)) })
	p.limiter.verdict = ratelimit.Verdict{Open: true, RetryAfter: time.Minute}
	if o := p.mustHandle(t); o.Failure != "held_back" || o.Asked || o.Calls != 1 {
		t.Errorf("a refusal while it is open: got %+v, want nothing counted", o)
	}
	booked := []string{}
	p.limiter.wait = func(_ context.Context, key string, _ ratelimit.Rate) error {
		booked = append(booked, key)
		if len(booked) == 1 {
			return &ratelimit.OpenError{RetryAfter: time.Minute}
		}
		return nil
	}
	r := claimed()
	o, err := p.check(t.Context(), r, p.memory.room(r))
	if err != nil || o.Failure != "held_back" || o.Calls != 0 {
		t.Errorf("the next one: got %+v and %v, want it held back without a call", o, err)
	}
	if diff := cmp.Diff([]string{ledger.App{BundleID: app}.SizeBudget("Production", "up to 8 KiB")}, booked); diff != "" {
		t.Errorf("booked (-want +got)\n%s", diff)
	}
}
