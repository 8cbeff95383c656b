package pulse_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"revalidator/internal/pulse"
)

func TestLoops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var loops pulse.Loops
		healthy := func(when string) {
			t.Helper()
			if err := loops.Check(t.Context()); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		healthy("no loops")
		for _, loop := range []string{"feed", "look", "save"} {
			loops.Beat(loop)
		}
		time.Sleep(pulse.Limit)
		healthy("just in time")
		loops.Beat("save")
		time.Sleep(time.Second)
		err := loops.Check(t.Context())
		if want := "stuck: feed for 10m1s, look for 10m1s"; !errors.Is(err, pulse.ErrStuck) || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		loops.End("feed")
		loops.Beat("look")
		healthy("one ended and one moved on")
	})
}
