package worker

import (
	"context"
	"errors"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/internal/ratelimit"
)

// conclude turns an answer, or the error in its place, into an outcome. Its own
// error is a fault of our machinery.
func (w *Worker) conclude(ctx context.Context, r ledger.Receipt, a appstore.Answer, err error) (ledger.Outcome, error) {
	w.metrics.oddities.Add(float64(w.odd.note(r.ID, a.Unknown)))
	v := classify(err)
	o := w.notAsked(r)
	o.Calls, o.Failure, o.Environment = a.Calls, v.class, a.Environment
	if v.alarm {
		w.cfg.Logger.Warn("answer needs a look", "receipt_id", r.ID, "bundle_id", r.App.BundleID, "class", v.class, "error", err)
	}
	switch v.action {
	case fail:
		return ledger.Outcome{}, err
	case giveBack:
		o.Failure = ""
		return o, nil
	case pauseApp:
		return o, w.pause(ctx, r.App.BundleID, err)
	case disregard:
		w.disregard(&o, r, err)
		return o, nil
	case hold:
		w.held(&o, a)
		return o, nil
	case waitForLimit:
		o.NextCheck = iap.Check{At: o.At.Add(w.limitOver(ctx, r, a, err)), Rule: iap.RuleWait}
		if errors.Is(err, ratelimit.ErrOpen) {
			o.NextCheck.Rule = iap.RuleHeldBack
		}
		return o, nil
	}
	o.Asked, o.Stays = true, false
	var status *appstore.StatusError
	switch {
	case err == nil:
		code := int(a.Code)
		o.Code = &code
		o.ImportedAt = r.ImportedAt
		w.recordFacts(&o, a, r)
	case errors.As(err, &status):
		code := int(status.Code)
		o.Code = &code
		fallthrough
	default:
		w.recordFailure(&o, v, r)
	}
	countInFigures(&o, r)
	return o, nil
}

// notAsked gives a claim back: the receipt stays due, and in its run.
func (w *Worker) notAsked(r ledger.Receipt) ledger.Outcome {
	policy := r.App.Policy(w.cfg.Policy)
	return ledger.Outcome{
		ReceiptID: r.ID, Generation: r.Generation, RunID: r.RunID, BundleID: r.App.BundleID,
		At: w.cfg.Dates(), Stays: r.RunID != 0, Policy: &policy,
	}
}

// rests is the outcome of a covered receipt whose rows were checked through the one
// that covers it: it need not be asked about.
func (w *Worker) rests(r ledger.Receipt) ledger.Outcome {
	o := w.notAsked(r)
	o.Rests, o.Stays = true, false
	return o
}

// recordFacts derives what the facts say. What it changes, and when the receipt is
// checked next, shows when it is merged with what is stored.
func (w *Worker) recordFacts(o *ledger.Outcome, a appstore.Answer, r ledger.Receipt) {
	conclusion := iap.Derive(&a.Facts)
	o.State, o.Conclusion = iap.ReceiptValid, &conclusion
	o.Backoff = w.cfg.Retry.staleBackoff(r.StaleReplies + 1)
}

// limitOver is how long it takes until a limit allows the next call. Where Apple
// set it, nobody calls for the app and environment before.
func (w *Worker) limitOver(ctx context.Context, r ledger.Receipt, a appstore.Answer, err error) time.Duration {
	// All who were refused heard the same: they come back spread.
	var open *ratelimit.OpenError
	if errors.As(err, &open) {
		return w.spread(open.RetryAfter)
	}
	var busy *ratelimit.BusyError
	if errors.As(err, &busy) {
		return w.spread(busy.RetryAfter)
	}
	var reply *appstore.HTTPError
	if !errors.As(err, &reply) {
		return limitAfter
	}
	now := w.cfg.Now()
	wait := w.cfg.Retry.backoff(1)
	if reply.RetryAfter.After(now) {
		wait = reply.RetryAfter.Sub(now)
	}
	e := a.Environment
	if e == "" {
		e = iap.Production
	}
	if err := w.cfg.Limiter.Block(ctx, r.App.Budget(e), wait); err != nil {
		w.cfg.Logger.Warn("hold calls back", "bundle_id", r.App.BundleID, "error", err)
	}
	return wait
}

// pause stops an app, once, with one alarm: that of the worker whose call it
// was that paused it. It outlasts the task, which may be ended while it is made:
// Apple's refusal is known, and the others must not go on asking.
func (w *Worker) pause(ctx context.Context, bundleID string, cause error) error {
	reason := ledger.PausedSecretRefused
	if errors.Is(cause, errNoSecret) {
		reason = ledger.PausedNoSecret
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	changed, err := w.cfg.Store.PauseApp(ctx, bundleID, reason, w.cfg.Now())
	if err != nil {
		return err
	}
	w.ring.pausing(bundleID)
	if changed {
		w.metrics.paused.WithLabelValues(bundleID).Inc()
		w.cfg.Logger.Error("app paused: add a shared secret that Apple accepts with 'revalidator secrets add'",
			"bundle_id", bundleID, "reason", reason)
	}
	return nil
}
