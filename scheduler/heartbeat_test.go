package scheduler

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/jobs"
)

func TestHeartbeat(t *testing.T) {
	inBubble(t, 0, nil, func(t *testing.T, b bubble) {
		b.runFor(t, 3*jobs.HeartbeatEvery-time.Second)
		owner := b.cfg.Owner
		if diff := cmp.Diff([]string{owner, owner, owner, ""}, b.queue.beats); diff != "" {
			t.Errorf("beats, and the end (-want +got):\n%s", diff)
		}
	})
}

// TestHeartbeatOutlivesFaults has Redis away for the first half of the time.
func TestHeartbeatOutlivesFaults(t *testing.T) {
	inBubble(t, 0, nil, func(t *testing.T, b bubble) {
		b.store.fail = func(method string) error {
			if method == "Beat" && b.elapsed() < time.Minute {
				return errors.New("redis is away")
			}
			return nil
		}
		b.runFor(t, 2*time.Minute)
		if got := len(b.queue.beats); got < 10 {
			t.Errorf("%d beats after Redis was back, want one every %s", got, jobs.HeartbeatEvery)
		}
		if got := b.log.at(slog.LevelWarn); !slices.Equal(got, []string{"say that the scheduler is at work"}) {
			t.Errorf("warnings: got %q, want one", got)
		}
	})
}
