package faults

import (
	"context"
	"time"
)

// troubleTime is how long each trouble of a way lasts: longer than a request to
// Apple may take, shorter than a claim.
const troubleTime = 4 * time.Second

func networkScenarios() []Scenario {
	ways := []struct {
		name string
		link func(*World) *Link
	}{
		{"worker to Apple", func(w *World) *Link { return w.WorkerApple }},
		{"worker to Redis", func(w *World) *Link { return w.WorkerRedis }},
		{"worker to Postgres", func(w *World) *Link { return w.WorkerPostgres }},
		{"scheduler to Redis", func(w *World) *Link { return w.SchedulerRedis }},
		{"scheduler to Postgres", func(w *World) *Link { return w.SchedulerPostgres }},
	}
	var all []Scenario
	for _, way := range ways {
		var settings []string
		if way.name == "worker to Postgres" {
			settings = []string{longLease}
		}
		all = append(all, Scenario{
			Name:     way.name,
			Faults:   "way cut, then reset, swallowed, delayed, throttled, cut after 2 KB, 4 s each",
			Settings: settings,
			// What was held up comes in a bunch.
			RateSlack: troubleTime + time.Second, AsksAgain: way.name == "worker to Apple", Length: 25 * time.Second,
			Attack: afterAStart(func(ctx context.Context, w *World) error { return troubles(ctx, w, way.link(w)) }),
		})
	}
	return all
}

// troubles has everything happen on a way, one after the other, with a moment of
// peace in between.
func troubles(ctx context.Context, w *World, l *Link) error {
	for _, t := range []*Trouble{
		nil, // cut
		new(resetting()), new(swallow()), new(delay(300*time.Millisecond, 200*time.Millisecond)),
		new(throttle(20)), new(cutAfter(2048)),
	} {
		err := w.during(ctx, func() error {
			if t != nil {
				return l.Suffer(ctx, *t, troubleTime)
			}
			l.Cut()
			if err := hold(ctx, troubleTime); err != nil {
				return err
			}
			return l.Mend(ctx)
		})
		if err != nil {
			return err
		}
		if err := hold(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}
