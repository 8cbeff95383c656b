package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/report"
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

// clockIsRight fails while checks are held because the clock is wrong.
func (s *parts) clockIsRight(ctx context.Context) error {
	wrong, err := report.ReadWrongClocks(ctx, s.db)
	for _, c := range wrong {
		err = errors.Join(err, errors.New(c.String()))
	}
	return err
}
