package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/iap"
)

var (
	// errClockDiffers is matched by every *clockError.
	errClockDiffers = errors.New("the time of the reply differs from the clock")
	// errClockWrong is a check that is held: replies of its endpoint agree that
	// the clock is wrong.
	errClockWrong = errors.New("checks are held because the clock is wrong")
)

// clockError is a reply whose time is not near the clock.
type clockError struct {
	// ahead is by how much the reply is ahead of the clock, negative where it is
	// behind.
	ahead time.Duration
	// wrong is whether the clock is taken to be wrong, and not the reply.
	wrong bool
}

func (e *clockError) Error() string { return fmt.Sprintf("%v by %s", errClockDiffers, e.ahead) }

// Is makes errors.Is(err, errClockDiffers) true.
func (e *clockError) Is(target error) bool { return target == errClockDiffers }

const (
	// clocksAge is for how long it is good what was read of the endpoints.
	clocksAge = 2 * time.Second
	// clockTimeout bounds what is asked of others about the time.
	clockTimeout = 5 * time.Second
	// clockAfter is when a receipt is checked again after a reply that differs,
	// and clockAfterAgain after one more, in another run. Both are by the clock, as
	// it may be the reply that is wrong; where it turns out to be the clock, the next
	// check is corrected with it: see ClockDiffersWithin.
	clockAfter, clockAfterAgain = time.Minute, time.Hour
)

// appleClocks compares Apple's time with the clock. What differs is shared with
// the other workers; while all agree, nobody is asked.
type appleClocks struct {
	store ClockStore // nil shares nothing
	// now is the clock of probes, dates the one that replies are compared with,
	// and measure reads that again.
	now, dates func() time.Time
	measure    func(context.Context) error
	tolerance  time.Duration
	log        *slog.Logger

	mu    sync.Mutex
	read  time.Time // when known was read
	known map[iap.Environment]clock.Endpoint
	// agreed are the endpoints of which a reply agreed since the last that did not.
	agreed map[iap.Environment]bool
}

func newAppleClocks(cfg Config) *appleClocks {
	return &appleClocks{
		store: cfg.Clocks, now: cfg.Now, dates: cfg.Dates, measure: cfg.MeasureDates,
		tolerance: cfg.ClockTolerance, log: cfg.Logger,
		known: make(map[iap.Environment]clock.Endpoint), agreed: make(map[iap.Environment]bool),
	}
}

// admit lets a call to an endpoint through, unless its checks are held; probe is
// whether it is the one that tries the clock.
func (c *appleClocks) admit(ctx context.Context, e iap.Environment) (probe bool, err error) {
	if c.store == nil {
		return false, nil
	}
	c.refresh(ctx)
	now := c.now()
	c.mu.Lock()
	k := c.known[e]
	due := k.ProbeDue(now)
	if due {
		c.known[e] = k.Probing(now) // one of this process asks for it
	}
	c.mu.Unlock()
	switch {
	case !k.Held():
		return false, nil
	case !due:
		return false, errClockWrong
	}
	probe, err = c.store.ClaimClockProbe(ctx, e, now)
	if err != nil {
		c.log.Warn("claim a probe of the clock", "environment", e, "error", err)
	}
	if !probe {
		return false, errClockWrong
	}
	return true, nil
}

// refresh reads how the endpoints stand, where that is known for too long. One
// reads, and the others go on with what was known.
func (c *appleClocks) refresh(ctx context.Context) {
	now := c.now()
	c.mu.Lock()
	fresh := !c.read.IsZero() && now.Sub(c.read).Abs() < clocksAge // it may have been set back
	if !fresh {
		c.read = now
	}
	c.mu.Unlock()
	if fresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	clocks, err := c.store.EndpointClocks(ctx)
	if err != nil {
		c.log.Debug("read the clocks of endpoints", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.known)
	for _, k := range clocks {
		c.known[k.Environment] = k
	}
}

// check compares the time of a reply that has just come with the clock. A clock
// that seems to be wrong is read again first: this machine may have slept.
func (c *appleClocks) check(ctx context.Context, e iap.Environment, asOf time.Time, probe bool) error {
	ahead := asOf.Sub(c.dates())
	if ahead.Abs() > c.tolerance && c.measure != nil {
		if err := c.measure(ctx); err != nil {
			c.log.Warn("read the clock again", "error", err)
		}
		ahead = asOf.Sub(c.dates())
	}
	// What was heard counts also where the task is out of time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clockTimeout)
	defer cancel()
	if ahead.Abs() <= c.tolerance {
		c.agree(ctx, e, probe)
		return nil
	}
	return c.differ(ctx, e, ahead)
}

func (c *appleClocks) agree(ctx context.Context, e iap.Environment, probe bool) {
	c.mu.Lock()
	c.agreed[e] = true
	k, suspected := c.known[e]
	c.mu.Unlock()
	if c.store == nil || !suspected || k.Held() && !probe {
		return
	}
	after, over, err := c.store.ClockAgreed(ctx, e, c.dates(), probe)
	switch {
	case err != nil:
		c.log.Warn("note that the clock is right", "environment", e, "error", err)
		return
	case over:
		c.log.Info("Apple's time agrees with the clock again: checks are resumed", "environment", e, "held_since", after.HeldSince)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if after.Held() && !over {
		c.known[e] = after
	} else {
		delete(c.known, e)
	}
}

func (c *appleClocks) differ(ctx context.Context, e iap.Environment, ahead time.Duration) error {
	c.mu.Lock()
	alone := c.agreed[e]
	c.agreed[e] = false
	c.mu.Unlock()
	if c.store == nil {
		return &clockError{ahead: ahead}
	}
	after, wrong, err := c.store.ClockDiffered(ctx, e, clock.Reply{At: c.now(), Ahead: ahead}, alone)
	if err != nil {
		c.log.Warn("note that the clock differs", "environment", e, "error", err)
		return &clockError{ahead: ahead}
	}
	if wrong {
		c.log.Error("the clock is wrong: Apple's replies differ from it and agree with each other; checks are held until it is set",
			"environment", e, "apple_ahead", ahead.Round(time.Second))
	}
	c.mu.Lock()
	c.known[e] = after
	c.mu.Unlock()
	return &clockError{ahead: ahead, wrong: after.Held()}
}

// disregard releases a receipt after a reply whose time is not believed:
// nothing of it is stored or counted as a failure of the receipt. While the clock is
// wrong it stays due as it was, because a due time of now would be wrong too.
// One that meets such a reply again and again leaves its run.
func (w *Worker) disregard(o *claim.Outcome, r claim.Receipt, err error) {
	o.Environment = ""
	var differs *clockError
	if errors.As(err, &differs) && differs.wrong {
		return
	}
	wait := clockAfter
	if r.Rule == iap.RuleClockDiffers {
		wait, o.Stays = clockAfterAgain, false
	}
	o.NextCheck = iap.Check{At: o.At.Add(w.spread(wait)), Rule: iap.RuleClockDiffers}
}

// held releases a receipt that was not checked because the clock is
// wrong. It stays due as it was, because a due time of now would be wrong too:
// the scheduler claims nothing meanwhile. It does claim where the sandbox alone
// is held; but then it is its time that is wrong, and not ours.
func (w *Worker) held(o *claim.Outcome, a Answer) {
	if a.Environment == iap.Sandbox {
		o.NextCheck = iap.Check{At: o.At.Add(w.spread(clockAfter)), Rule: iap.RuleWait}
	}
}

// spread adds up to a quarter to a wait, so that not all come back at once.
func (w *Worker) spread(wait time.Duration) time.Duration {
	return wait + time.Duration(float64(wait)*w.cfg.Retry.Random()/4)
}
