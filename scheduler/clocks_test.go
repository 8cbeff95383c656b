package scheduler

import (
	"context"
	"slices"
	"testing"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// heldClocks are endpoints whose checks are held.
type heldClocks []clock.Endpoint

func (h heldClocks) EndpointClocks(context.Context) ([]clock.Endpoint, error) {
	return slices.Clone(h), nil
}

// TestNothingIsClaimedWhileTheClockIsWrong but about one receipt for each app
// where a probe of the clock is due.
func TestNothingIsClaimedWhileTheClockIsWrong(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where a bubble starts
	wrong := func(e iap.Environment, probe time.Duration) clock.Endpoint {
		return clock.Endpoint{Environment: e, HeldSince: &now, NextProbeAt: now.Add(probe)}
	}
	for name, test := range map[string]struct {
		clocks heldClocks
		want   int // receipts of the first page, of 30 that are due
	}{
		"all agree":                     {nil, 30},
		"production suspected":          {heldClocks{{Environment: iap.Production}}, 30},
		"production held":               {heldClocks{wrong(iap.Production, time.Minute)}, 0},
		"production held, a probe due":  {heldClocks{wrong(iap.Production, 0)}, 1},
		"the sandbox held":              {heldClocks{wrong(iap.Sandbox, time.Minute)}, 30},
		"both held, a probe due of one": {heldClocks{wrong(iap.Production, time.Minute), wrong(iap.Sandbox, 0)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 30, func(c *Config) { c.Clocks = test.clocks }, func(t *testing.T, b bubble) {
				run := b.mustOpen(t)
				state, err := b.feedOnce(t.Context(), &feed{run: run})
				if err != nil || state != runs.Running {
					t.Errorf("fed: %v with error %v, want it running", state, err)
				}
				if got := len(b.queue.tasks); got != test.want {
					t.Errorf("%d tasks, want %d", got, test.want)
				}
			})
		})
	}
}

// TestNothingIsClaimedWhereClocksAreNotKnown: what is claimed may have to be
// given back.
func TestNothingIsClaimedWhereClocksAreNotKnown(t *testing.T) {
	inBubble(t, 3, func(c *Config) { c.Clocks = unknownClocks{} }, func(t *testing.T, b bubble) {
		if _, err := b.feedOnce(t.Context(), &feed{run: b.mustOpen(t)}); err == nil || len(b.queue.tasks) > 0 {
			t.Errorf("got error %v and %d tasks, want an error and none", err, len(b.queue.tasks))
		}
	})
}

type unknownClocks struct{}

func (unknownClocks) EndpointClocks(context.Context) ([]clock.Endpoint, error) {
	return nil, errAway
}

// TestTwoClocks has receipts be due, and belong to runs, by the clock of Apple's
// dates, and everything else go by the shared one.
func TestTwoClocks(t *testing.T) {
	const ahead = 40 * 24 * time.Hour
	change := func(c *Config) { c.Dates = func() time.Time { return time.Now().Add(ahead) } }
	inBubble(t, 1, change, func(t *testing.T, b bubble) {
		run := b.mustOpen(t)
		if _, err := b.Feed(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		first := b.store.requests[0]
		for what, of := range map[string]struct{ got, want time.Time }{
			"slot":     {run.ScheduledFor, b.started},
			"deadline": {run.Deadline, b.started.Add(8 * time.Hour)},
			"cutoff":   {run.Cutoff, b.started.Add(ahead)},
			"owner":    {b.store.leases[0].Until, b.started.Add(30 * time.Second)},
			"asked at": {first.Now, b.started},
			"lease":    {first.Until, b.started.Add(15 * time.Minute)},
			"due":      {first.Due, b.started.Add(ahead)},
		} {
			if !of.got.Equal(of.want) {
				t.Errorf("%s: got %v, want %v", what, of.got, of.want)
			}
		}
	})
}
