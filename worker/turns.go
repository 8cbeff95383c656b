package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/internal/ratelimit"
)

// turns is the way of one receipt through the budgets of its app: each call
// waits for its turn, and what is heard of it is told to the budget, so that an
// Apple in trouble is asked less, or not at all. The calls of one receipt come
// one after the other.
type turns struct {
	*Worker
	receipt ledger.Receipt
	slot    ratelimit.Slot
	// sizeSlot is of the budget of the request's size, where that is watched.
	sizeSlot ratelimit.Slot
	// held is set where the last call failed while nobody should ask any more.
	held *ratelimit.OpenError
}

func (w *Worker) turns(r ledger.Receipt) *turns { return &turns{Worker: w, receipt: r} }

// wait waits until the app may make its next call, and no longer than the
// worker runs.
func (t *turns) wait(ctx context.Context, e iap.Environment) error {
	ctx, cancel := t.untilStopped(ctx)
	defer cancel()
	app := t.receipt.App
	rate := ratelimit.Rate{PerSecond: app.RatePerSecond, Burst: app.Burst}
	var err error
	if t.isSizeWatched(e) {
		if t.sizeSlot, err = t.cfg.Limiter.Wait(ctx, t.sizeBudget(e), rate); err != nil {
			return err
		}
	}
	t.slot, err = t.cfg.Limiter.Wait(ctx, app.Budget(e), rate)
	if err != nil {
		t.heardOfSize(ctx, e, verdict{signal: unclear}) // nothing is asked
	}
	return err
}

// heard tells the budgets how a call ended.
func (t *turns) heard(ctx context.Context, e iap.Environment, err error) {
	v := classify(err)
	signal := t.signal(v)
	said, reportErr := t.cfg.Limiter.Report(ctx, t.receipt.App.Budget(e), t.slot, signal, v.class)
	log := t.cfg.Logger.With("bundle_id", t.receipt.App.BundleID, "environment", e)
	switch {
	case reportErr != nil:
		log.Warn("report how a call ended", "error", reportErr)
	case said.Opened:
		log.Error("Apple is in trouble: calls are held back, and nothing is lost", "class", v.class, "retry_after", said.RetryAfter.Round(time.Second))
	case said.Closed:
		log.Info("Apple answers again: calls go on", "held_back", t.cfg.Now().Sub(said.Since).Round(time.Second))
	case said.Halved:
		log.Warn("Apple shows distress: the rate is halved, and creeps back", "class", v.class)
	}
	t.held = nil
	if said.Open && !t.slot.IsProbe() && (signal == distress || v.signal == malformed) {
		t.held = &ratelimit.OpenError{RetryAfter: said.RetryAfter}
	}
	t.heardOfSize(ctx, e, v)
}

func (t *turns) sizeBudget(e iap.Environment) string {
	return t.receipt.App.SizeBudget(e, sizeName(t.receipt.ByteSize))
}

func (t *turns) isSizeWatched(e iap.Environment) bool {
	return !t.sizes.areEmpty() && t.sizes.isWatched(t.sizeBudget(e), t.cfg.Now())
}

// heardOfSize tells the budget of the request's size how a call ended, once one
// was refused for its size: a breaker for such requests alone.
func (t *turns) heardOfSize(ctx context.Context, e iap.Environment, v verdict) {
	refused, signal := v.err == appstore.ErrSizeRefused, v.signal
	if !refused && !t.isSizeWatched(e) {
		return
	}
	budget := t.sizeBudget(e)
	switch {
	case refused:
		t.sizes.watch(budget, t.cfg.Now())
		signal = distress
	case signal != answered:
		signal = unclear // the budget of the app is told of that
	}
	slot := t.sizeSlot
	t.sizeSlot = ratelimit.Slot{}
	said, err := t.cfg.Limiter.Report(ctx, budget, slot, signal, v.class)
	log := t.cfg.Logger.With("budget", budget)
	switch {
	case err != nil:
		log.Warn("report how a call ended", "error", err)
	case said.Opened:
		log.Error("a proxy refuses requests of this size: they are held back, and nothing is lost", "retry_after", said.RetryAfter.Round(time.Second))
	case said.Closed:
		log.Info("requests of this size are answered again: calls go on", "held_back", t.cfg.Now().Sub(said.Since).Round(time.Second))
	}
	if refused && said.Open && !slot.IsProbe() {
		t.held = &ratelimit.OpenError{RetryAfter: said.RetryAfter}
	}
}

// signal is what an answer says of Apple. One that accuses a receipt is a sign
// of trouble where Apple has accepted it before, or says so for the first time;
// that it is said again is no news, unless all wait for it.
func (t *turns) signal(v verdict) ratelimit.Signal {
	switch {
	case v.signal != malformed || t.slot.IsProbe():
		return v.signal
	case t.receipt.LastFailure == v.class:
		return unclear
	case v.err == appstore.ErrWrongApp && !t.receipt.Accepted():
		return answered
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
