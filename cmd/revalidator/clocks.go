package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
)

// clocks are the clocks of a process; nil where it needs no database.
type clocks struct {
	// shared is the database's clock: all processes agree on it, whatever the
	// clocks of their machines show. Leases, rates and deadlines follow it.
	shared *clock.Clock
	// apple is the clock that Apple's dates are compared with, by which receipts
	// are due and results are dated: shared, unless the App Store is simulated.
	apple *clock.Clock
}

// simulatedEvery is how soon it is seen that a simulated clock was set.
const simulatedEvery = time.Second

// makeClocks prepares the clocks, and reads none yet.
func (s *parts) makeClocks() (err error) {
	read := func(ctx context.Context) (clock.Reading, error) {
		now, err := s.db.Time(ctx)
		return clock.Reading{At: now, Speed: 1}, err
	}
	if s.clocks.shared, err = clock.New(clock.Config{Name: "database", Read: read, Logger: s.log}); err != nil {
		return err
	}
	s.clocks.apple = s.clocks.shared
	if url := s.cfg.Apple.ClockURL; url != "" {
		s.clocks.apple, err = clock.New(clock.Config{Name: "simulated App Store", Read: clock.Simulator(url), Every: simulatedEvery, Logger: s.log})
	}
	return err
}

// readClocks reads the clocks now.
func (s *parts) readClocks(ctx context.Context) error {
	if err := s.clocks.shared.Measure(ctx); err != nil || s.clocks.apple == s.clocks.shared {
		return err
	}
	return s.clocks.apple.Measure(ctx)
}

// keepClocks reads the clocks again and again until stop, which waits for its
// end.
func (s *parts) keepClocks(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.clocks.shared.Run(ctx) })
	if s.clocks.apple != s.clocks.shared {
		running.Go(func() { s.clocks.apple.Run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// now is the time by the clock that all processes share.
func (s *parts) now() time.Time {
	if s.clocks.shared == nil {
		return time.Now().UTC()
	}
	return s.clocks.shared.Now()
}

// appleTime is the time by the clock of Apple's dates.
func (s *parts) appleTime() time.Time {
	if s.clocks.apple == nil {
		return time.Now().UTC()
	}
	return s.clocks.apple.Now()
}

// dateOf is a time of the shared clock by the clock of Apple's dates.
func (s *parts) dateOf(now time.Time) time.Time {
	if s.clocks.apple == s.clocks.shared {
		return now
	}
	return now.Add(s.appleTime().Sub(s.now()))
}

// wrongClock is an endpoint whose checks are held because our clock is wrong.
type wrongClock struct {
	Environment iap.Environment `json:"environment"`
	HeldSince   time.Time       `json:"held_since"`
	// AppleAheadSeconds is negative where Apple's time is behind the clock.
	AppleAheadSeconds float64 `json:"apple_ahead_seconds"`
}

func (s *parts) wrongClocks(ctx context.Context) ([]wrongClock, error) {
	held, err := s.db.WrongClocks(ctx)
	wrong := make([]wrongClock, len(held))
	for i, c := range held {
		wrong[i] = wrongClock{c.Environment, *c.HeldSince, c.Ahead.Seconds()}
	}
	return wrong, err
}

// clockIsRight fails while checks are held because the clock is wrong.
func (s *parts) clockIsRight(ctx context.Context) error {
	wrong, err := s.wrongClocks(ctx)
	for _, c := range wrong {
		err = errors.Join(err, errors.New(c.text()))
	}
	return err
}

// explainClocks adds to receipts that their checks are held because the clock is
// wrong.
func (s *parts) explainClocks(ctx context.Context, receipts []receiptExplanation) error {
	wrong, err := s.wrongClocks(ctx)
	for i, r := range receipts {
		for _, c := range wrong {
			if c.Environment == cmp.Or(r.Environment, iap.Production) {
				receipts[i].Obstacles = append(r.Obstacles, fmt.Sprintf("clock wrong: since %s %s. Nothing but one check a minute is asked until it is set.",
					phrase.Time(c.HeldSince), c.text()))
			}
		}
	}
	return err
}

// text says by how much the clock is wrong.
func (c wrongClock) text() string {
	direction := "behind"
	if c.AppleAheadSeconds < 0 {
		direction = "ahead of"
	}
	by := time.Duration(math.Abs(c.AppleAheadSeconds) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("the database's clock is %s Apple's by %s, as replies of %s agree", direction, by, c.Environment)
}
