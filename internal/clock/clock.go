// Package clock tells the time by a clock that many processes share: that of
// the database, or in development that of a simulated App Store. The clock of
// this machine only counts what has passed since the shared one was read, and how
// long a Sleep lasts.
package clock

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"time"
)

// Reading is what a clock showed when it was read.
type Reading struct {
	At time.Time
	// Speed is how many seconds pass on it in one: 1 unless it is simulated.
	Speed float64
}

// Config says which clock to read. Name and Read are needed.
type Config struct {
	// Name is what the log calls it, such as "database".
	Name string
	// Read asks for the time. It is given a deadline.
	Read func(context.Context) (Reading, error)
	// Every is the time between two readings: 10 s.
	Every time.Duration
	// Local is the clock of this machine, of which only differences count:
	// time.Now, which goes on evenly when the machine's clock is set.
	Local  func() time.Time
	Logger *slog.Logger
}

const (
	defaultEvery = 10 * time.Second
	// readTimeout bounds one reading.
	readTimeout = 5 * time.Second
	// A reading that took longer than quick is repeated, up to tries times: the
	// time is only known to half of what the reading took.
	quick = 5 * time.Millisecond
	tries = 3
	// drift is what two clocks may part in between two readings without a word.
	drift = time.Millisecond
	// jump is from which difference on a clock that was set is logged.
	jump = time.Second
)

// Clock is a shared clock. Until it was read for the first time, and where it
// cannot be read, it uses the last reading, or this machine. It is safe
// for concurrent use.
type Clock struct {
	cfg    Config
	anchor atomic.Pointer[anchor]

	// reading holds whoever reads, and guards the two below it.
	reading chan struct{}
	began   time.Time // when the last reading was begun, by the local clock
	err     error     // how it ended
}

// anchor is a reading at a moment of the local clock, right to within slack.
type anchor struct {
	Reading
	local time.Time
	slack time.Duration
}

// at is the time at another moment of the local clock.
func (a *anchor) at(local time.Time) time.Time {
	passed := local.Sub(a.local)
	if a.Speed != 1 {
		passed = time.Duration(float64(passed) * a.Speed)
	}
	return a.At.Add(passed)
}

// New makes a clock that was not read yet.
func New(cfg Config) (*Clock, error) {
	if cfg.Read == nil || cfg.Name == "" {
		return nil, errors.New("clock: a name and a way to read it are needed")
	}
	cfg.Every = cmp.Or(cfg.Every, defaultEvery)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Local == nil {
		cfg.Local = time.Now
	}
	return &Clock{cfg: cfg, reading: make(chan struct{}, 1)}, nil
}

// Now is the time, in UTC. It costs a look at the local clock.
func (c *Clock) Now() time.Time {
	local := c.cfg.Local()
	if a := c.anchor.Load(); a != nil {
		return a.at(local).UTC()
	}
	return local.UTC()
}

// Measure reads the clock now. Of several callers at the same time one reads for
// all.
func (c *Clock) Measure(ctx context.Context) error {
	asked := c.cfg.Local()
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.began.After(asked) {
		return c.err
	}
	c.began = c.cfg.Local()
	a, err := c.best(ctx)
	if c.err = err; err == nil {
		c.adopt(a)
	}
	return err
}

// Run reads the clock again and again until ctx ends. That it cannot be read is
// logged once, and so is that it can be read again.
func (c *Clock) Run(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := c.Measure(ctx)
		switch {
		case err != nil && !failing && ctx.Err() == nil:
			c.cfg.Logger.Warn("could not read the clock, its last reading is used", "clock", c.cfg.Name, "error", err)
		case err == nil && failing:
			c.cfg.Logger.Info("clock can be read again", "clock", c.cfg.Name)
		}
		failing = err != nil
	}
}

// best reads the clock, and again where that took long, and keeps the reading
// that is known best.
func (c *Clock) best(ctx context.Context) (*anchor, error) {
	var best *anchor
	for range tries {
		a, err := c.read(ctx)
		if err != nil && best == nil {
			return nil, err
		}
		if err != nil {
			break
		}
		if best == nil || a.slack < best.slack {
			best = a
		}
		if best.slack <= quick/2 {
			break
		}
	}
	return best, nil
}

// read takes the reading to be of the middle between question and answer.
func (c *Clock) read(ctx context.Context) (*anchor, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	before := c.cfg.Local()
	r, err := c.cfg.Read(ctx)
	if err != nil {
		return nil, err
	}
	half := c.cfg.Local().Sub(before) / 2
	return &anchor{Reading: r, local: before.Add(half), slack: half}, nil
}

// adopt uses a new reading where it contradicts the last one. Where it does
// not, the time goes on evenly.
func (c *Clock) adopt(a *anchor) {
	known := c.anchor.Load()
	if known == nil {
		c.anchor.Store(a)
		return
	}
	moved := a.At.Sub(known.at(a.local))
	slack := time.Duration(float64(a.slack) * max(a.Speed, known.Speed, 1))
	if a.Speed == known.Speed && moved.Abs() <= slack+drift {
		return
	}
	c.anchor.Store(a)
	if moved.Abs() >= jump && math.Max(a.Speed, known.Speed) == 1 {
		c.cfg.Logger.Warn("clock was set", "clock", c.cfg.Name, "by", moved.Round(time.Millisecond))
	}
}
