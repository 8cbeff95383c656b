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
	case waitForLimit:
		o.NextCheck = iap.Check{At: w.limitOver(ctx, r, a, err), Rule: iap.RuleWait}
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
		w.recordFacts(&o, a, r.App.Policy(w.cfg.Policy))
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
	return ledger.Outcome{
		ReceiptID: r.ID, Generation: r.Generation, RunID: r.RunID, BundleID: r.App.BundleID,
		At: w.cfg.Now(), Stays: r.RunID != 0,
	}
}

// recordFacts derives what the facts mean and when to look again.
func (w *Worker) recordFacts(o *ledger.Outcome, a appstore.Answer, policy iap.Policy) {
	conclusion := iap.Derive(&a.Facts)
	next := policy.Plan(conclusion, a.Facts.AsOf, o.ReceiptID)
	if !next.At.IsZero() && next.At.Before(o.At) {
		// Apple's clock is behind ours, or the reply was long on its way.
		next.At = o.At
	}
	o.State, o.Conclusion, o.NextCheck = iap.ReceiptValid, &conclusion, next
}

// limitOver is when a limit allows the next call. Where Apple set it, nobody
// calls for the app and environment before.
func (w *Worker) limitOver(ctx context.Context, r ledger.Receipt, a appstore.Answer, err error) time.Time {
	now := w.cfg.Now()
	// All who were refused heard the same: they come back spread.
	spread := func(wait time.Duration) time.Time {
		return now.Add(wait + time.Duration(float64(wait)*w.cfg.Retry.Random()/4))
	}
	var open *ratelimit.OpenError
	if errors.As(err, &open) {
		return spread(open.RetryAfter)
	}
	var busy *ratelimit.BusyError
	if errors.As(err, &busy) {
		return spread(busy.RetryAfter)
	}
	until := now.Add(w.cfg.Retry.backoff(1))
	var reply *appstore.HTTPError
	if !errors.As(err, &reply) {
		return now.Add(limitAfter)
	}
	if reply.RetryAfter.After(now) {
		until = reply.RetryAfter
	}
	e := a.Environment
	if e == "" {
		e = iap.Production
	}
	if err := w.cfg.Limiter.Block(ctx, r.App.Budget(e), until); err != nil {
		w.cfg.Logger.Warn("hold calls back", "bundle_id", r.App.BundleID, "error", err)
	}
	return until
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
