package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestRefusedSizesAreHeldBack has the breaker of a size open: a refusal that comes
// then does not count, and the next receipt of that size is not checked.
func TestRefusedSizesAreHeldBack(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) { c.AppStore = ends(httpStatus(413)) })
	p.limiter.verdict = ratelimit.Verdict{Open: true, Opened: true, RetryAfter: time.Minute}
	if o := p.mustHandle(t); o.Failure != "held_back" || o.Asked || o.Calls != 1 {
		t.Errorf("a refusal while it is open: got %+v, want nothing counted", o)
	}
	want := "a proxy refuses requests of this size: they are held back, and nothing is lost"
	if diff := cmp.Diff([]string{want}, p.log.at(slog.LevelError)); diff != "" {
		t.Errorf("logged (-want +got)\n%s", diff)
	}
	p.limiter.wait = func(_ context.Context, key string, _ ratelimit.Rate) error {
		if key != app+"/verify_receipt:Production/8 to 16 KiB" {
			t.Errorf("booked %s", key)
		}
		return &ratelimit.OpenError{RetryAfter: time.Minute}
	}
	r := claimed()
	r.ByteSize = 9000
	o, err := p.check(t.Context(), r, p.memory.room(r))
	if err != nil || o.Failure != "held_back" || o.Calls != 0 {
		t.Errorf("the next one: got %+v and %v, want it held back without a call", o, err)
	}
}
