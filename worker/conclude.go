package worker

import (
	"context"
	"errors"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
)

// conclude turns an answer, or the error in its place, into an outcome. Its own
// error is a fault of our machinery.
func (w *Worker) conclude(ctx context.Context, r claim.Receipt, a Answer, err error) (claim.Outcome, error) {
	w.metrics.unknown.Add(float64(w.unknown.note(r.ID, a.Unknown)))
	source := w.source(r)
	conclusion, c := judge(source, &a.Facts, err)
	o := w.notAsked(r)
	o.Calls, o.Failure, o.Environment = a.Calls, c.Name, a.Environment
	if c.Alarm {
		w.cfg.Logger.Warn("reply needs attention", "receipt_id", r.ID, "bundle_id", r.App.BundleID, "class", c.Name, "error", err)
	}
	switch c.Action {
	case Fail:
		return claim.Outcome{}, err
	case Release:
		o.Failure = ""
		return o, nil
	case PauseApp:
		return o, w.pause(ctx, source, r.App.BundleID, c)
	case Disregard:
		w.disregard(&o, r, err)
		return o, nil
	case Hold:
		w.held(&o, a)
		return o, nil
	case WaitForLimit:
		o.NextCheck = iap.Check{At: o.At.Add(w.limitOver(ctx, r, a, source.Details(err), err)), Rule: iap.RuleWait}
		if errors.Is(err, ratelimit.ErrOpen) {
			o.NextCheck.Rule = iap.RuleHeldBack
		}
		return o, nil
	}
	o.Asked, o.Stays = true, false
	if err == nil {
		o.Code, o.ImportedAt = a.Code, r.ImportedAt
		w.recordFacts(&o, conclusion, r)
	} else {
		o.Code = source.Details(err).Code
		w.recordFailure(&o, c, r)
	}
	countInFigures(&o, r)
	return o, nil
}

// notAsked gives a claim back: the receipt stays due, and in its run.
func (w *Worker) notAsked(r claim.Receipt) claim.Outcome {
	policy := r.App.Policy(w.cfg.Policy)
	return claim.Outcome{
		ReceiptID: r.ID, Generation: r.Generation, RunID: r.RunID, BundleID: r.App.BundleID,
		At: w.cfg.Dates(), Stays: r.RunID != 0, Policy: &policy,
	}
}

// rests is the outcome of a covered receipt whose rows were checked through the one
// that covers it: it need not be asked about.
func (w *Worker) rests(r claim.Receipt) claim.Outcome {
	o := w.notAsked(r)
	o.Rests, o.Stays = true, false
	return o
}

// judge is what an answer comes to: what its facts say, or the class of the failure.
func judge(s Source, f *iap.Facts, err error) (*iap.Conclusion, Class) {
	c := classify(s, err)
	if c.Action != Record {
		return nil, c
	}
	conclusion := iap.Derive(f)
	return &conclusion, c
}

// recordFacts records what the facts say. What it changes, and when the receipt is
// checked next, shows when it is merged with what is stored.
func (w *Worker) recordFacts(o *claim.Outcome, conclusion *iap.Conclusion, r claim.Receipt) {
	o.State, o.Conclusion = iap.ReceiptValid, conclusion
	o.Backoff = w.cfg.Retry.staleBackoff(r.StaleReplies + 1)
}

// limitOver is how long it takes until a limit allows the next call. Where Apple
// set it, nobody calls for the app and environment before.
func (w *Worker) limitOver(ctx context.Context, r claim.Receipt, a Answer, d Details, err error) time.Duration {
	// All who were refused heard the same: they come back spread.
	var open *ratelimit.OpenError
	if errors.As(err, &open) {
		return w.spread(open.RetryAfter)
	}
	var busy *ratelimit.BusyError
	if errors.As(err, &busy) {
		return w.spread(busy.RetryAfter)
	}
	if classify(w.source(r), err).Signal != limited {
		return limitAfter
	}
	now := w.cfg.Now()
	wait := w.cfg.Retry.backoff(1)
	if d.RetryAfter.After(now) {
		wait = d.RetryAfter.Sub(now)
	}
	e := a.Environment
	if e == "" {
		e = iap.Production
	}
	if err := w.cfg.Limiter.Block(ctx, r.App.Budget(apps.Endpoint{Environment: e, Class: a.Endpoint}).String(), wait); err != nil {
		w.cfg.Logger.Warn("hold calls back", "bundle_id", r.App.BundleID, "error", err)
	}
	return wait
}

// pause stops an app, once, with one alarm: that of the worker whose call it
// was that paused it. It outlasts the task, which may be ended while it is made:
// Apple's refusal is known, and the others must not go on asking.
func (w *Worker) pause(ctx context.Context, source Source, bundleID string, c Class) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	changed, err := w.cfg.Store.PauseApp(ctx, bundleID, c.Pause, w.cfg.Now())
	if err != nil {
		return err
	}
	source.Paused(bundleID)
	if changed {
		w.metrics.paused.WithLabelValues(bundleID).Inc()
		w.cfg.Logger.Error("app paused", "bundle_id", bundleID, "reason", c.Pause, "fix", c.Fix)
	}
	return nil
}

// source is that of a receipt's app.
func (w *Worker) source(r claim.Receipt) Source { return w.sources[r.App.SourceOrDefault()] }
