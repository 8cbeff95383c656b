package applesim

import (
	"sync"
	"time"
)

// Clock is the simulated time. It can stand still, run at any speed, jump
// forward and be set back. It is safe for concurrent use.
type Clock struct {
	real func() time.Time

	mu    sync.Mutex
	base  time.Time // simulated time at the moment since
	since time.Time // real time of the last change
	speed float64
}

// NewClock starts a clock at start, running at speed simulated seconds per
// real second: 0 is frozen, 1 is real time. The real time is read from real.
func NewClock(start time.Time, speed float64, real func() time.Time) *Clock {
	return &Clock{real: real, base: start, since: real(), speed: speed}
}

// Now is the simulated time, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now(c.real())
}

func (c *Clock) now(real time.Time) time.Time {
	elapsed := float64(real.Sub(c.since)) * c.speed
	return c.base.Add(time.Duration(elapsed)).UTC()
}

// Set moves the clock to t, which may lie before Now.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.since = t, c.real()
}

// Advance moves the clock on by d and returns the new time.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	real := c.real()
	c.base, c.since = c.now(real).Add(d), real
	return c.base
}

// SinceSet is the real time since the clock was set, or its speed.
func (c *Clock) SinceSet() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.real().Sub(c.since)
}

// Speed is simulated seconds per real second.
func (c *Clock) Speed() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.speed
}

// SetSpeed changes the speed from now on, without a jump.
func (c *Clock) SetSpeed(speed float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	real := c.real()
	c.base, c.since, c.speed = c.now(real), real, speed
}
