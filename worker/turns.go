package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
)

// errWaitedTooLong is a task whose time was over before its turn came. Nothing was
// asked.
var errWaitedTooLong = errors.New("the task's time was over before the rate limiter had a slot")

// claimAge is for how long a claim is taken for held that was seen. After a longer
// time, in which this process may have stood still, it is looked at again before a
// call is made for it.
const claimAge = 10 * time.Second

// turns is the gate of one receipt: each call waits for its turn in the budget of
// the app, and what is heard of it is told to that, so that an Apple that fails is
// asked less, or not at all.
type turns struct {
	*Worker
	room    *room
	receipt claim.Receipt
	slot    ratelimit.Slot
	// probed is where a call tries the clock, empty where none does.
	probed iap.Environment
	// seen is when the claim was last seen to be held.
	seen time.Time
	// held is set where the last call failed while nobody should ask any more.
	held *ratelimit.OpenError
}

func (w *Worker) turns(r claim.Receipt, room *room) *turns {
	return &turns{Worker: w, room: room, receipt: r, seen: r.ReadAt}
}

// budget is that of the app, for a request of about this size.
func (t *turns) budget(at apps.Endpoint) string {
	b := t.receipt.App.Budget(at)
	b.Size = sizeName(t.receipt.ByteSize)
	return b.String()
}

// Wait implements Gate.
func (t *turns) Wait(ctx context.Context, at apps.Endpoint) error {
	probe, err := t.clocks.admit(ctx, at.Environment)
	if err != nil {
		return err
	}
	if probe {
		t.probed = at.Environment
	}
	return t.wait(ctx, at)
}

// Grow implements Gate.
func (t *turns) Grow(ctx context.Context, bytes int64) error { return t.room.grow(ctx, bytes) }

// Replied implements Gate.
func (t *turns) Replied(ctx context.Context, at apps.Endpoint, asOf time.Time) error {
	return t.clocks.check(ctx, at.Environment, asOf, t.probed == at.Environment)
}

// UntilStopped implements Gate.
func (t *turns) UntilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	return t.untilStopped(ctx)
}

// wait waits until the app may make its next call, and no longer than the
// worker runs.
func (t *turns) wait(ctx context.Context, at apps.Endpoint) (err error) {
	ctx, cancel := t.untilStopped(ctx)
	defer cancel()
	app := t.receipt.App
	rate := ratelimit.Rate{PerSecond: app.RatePerSecond, Burst: app.Burst}
	for {
		if err := t.stillClaimed(ctx); err != nil {
			return err
		}
		t.slot, err = t.cfg.Limiter.Wait(ctx, t.budget(at), rate)
		switch {
		case errors.Is(err, ratelimit.ErrLate):
			t.seen = time.Time{}
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%w: %v", errWaitedTooLong, err) // it is not Apple's timeout
		case err == nil:
			return t.writes.why() // it may have changed during the wait
		default:
			return err
		}
	}
}

// stillClaimed fails with claim.ErrLost where the claim was seen too long
// ago and is not held any more.
func (t *turns) stillClaimed(ctx context.Context) error {
	now := t.cfg.Now()
	if t.receipt.Generation == 0 || now.Sub(t.seen).Abs() < claimAge {
		return nil
	}
	t.seen = now
	_, err := t.load(ctx, t.receipt.ID, t.receipt.Generation)
	return err
}

// Heard implements Gate: it tells the budgets how a call ended.
func (t *turns) Heard(ctx context.Context, at apps.Endpoint, err error) {
	c := classify(t.source(t.receipt), err)
	signal := t.signal(c)
	said, reportErr := t.cfg.Limiter.Report(ctx, t.budget(at), t.slot, signal, c.Name)
	log := t.cfg.Logger.With("bundle_id", t.receipt.App.BundleID, "environment", at.Environment)
	retryAfter := said.RetryAfter.Round(time.Second)
	switch {
	case reportErr != nil:
		log.Warn("report how a call ended", "error", reportErr)
	case said.Opened && said.Everybody:
		log.Error("Apple is failing for most apps: calls are held back for all, and nothing is lost", "class", c.Name, "retry_after", retryAfter)
	case said.Opened && signal == oversized:
		log.Error("a proxy refuses requests of this size: they are held back, and nothing is lost", "size", sizeName(t.receipt.ByteSize), "retry_after", retryAfter)
	case said.Opened:
		log.Error("calls for an app fail: they are held back, and nothing is lost", "class", c.Name, "retry_after", retryAfter)
	case said.Closed:
		log.Info("calls are answered again: they are resumed", "all_apps", said.Everybody, "held_back", t.cfg.Now().Sub(said.Since).Round(time.Second))
	case said.Halved:
		log.Warn("Apple shows distress: the rate is halved, and creeps back", "class", c.Name)
	}
	t.held = nil
	if said.Open && !t.slot.IsProbe() && (signal == distress || signal == oversized || c.Signal == malformed) {
		t.held = &ratelimit.OpenError{RetryAfter: said.RetryAfter}
	}
}

// signal is what an answer says of Apple. One that accuses a receipt is a sign
// of trouble where Apple has accepted it before, or says so for the first time;
// that it is said again is no news, unless all wait for it.
func (t *turns) signal(c Class) ratelimit.Signal {
	switch {
	case c.Signal == "":
		return unclear
	case c.Signal != malformed || t.slot.IsProbe():
		return c.Signal
	case t.receipt.LastFailure == c.Name:
		return unclear
	case c.OfNew != "" && !t.receipt.Accepted():
		return c.OfNew
	}
	return malformed
}

// inTrouble is the error of the last call: where it came while the breaker is
// open, it says nothing about the receipt, and matches ratelimit.ErrOpen too.
func (t *turns) inTrouble(err error) error {
	if err == nil || t.held == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", t.held, err)
}
