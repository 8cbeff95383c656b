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
		w.recordFacts(&o, a, r)
	case errors.As(err, &status):
		code := int(status.Code)
		o.Code = &code
		fallthrough
	default:
		w.recordFailure(&o, v, r)
	}
	return o, nil
}

// notAsked gives a claim back: the receipt stays due, and in its run.
func (w *Worker) notAsked(r ledger.Receipt) ledger.Outcome {
	return ledger.Outcome{
		ReceiptID: r.ID, Generation: r.Generation, RunID: r.RunID, BundleID: r.App.BundleID,
		At: w.cfg.Now(), Stays: r.RunID != 0,
	}
}

// recordFacts derives what the facts say. What it changes, and when the receipt is
// checked next, shows when it is merged with what is stored.
func (w *Worker) recordFacts(o *ledger.Outcome, a appstore.Answer, r ledger.Receipt) {
	conclusion, policy := iap.Derive(&a.Facts), r.App.Policy(w.cfg.Policy)
	o.State, o.Conclusion, o.Policy = iap.ReceiptValid, &conclusion, &policy
	o.Backoff = w.cfg.Retry.staleBackoff(r.StaleReplies + 1)
}

// recordFailure says when to ask again, and what to make of the receipt. The
// subscriptions that it shows stay as they are.
func (w *Worker) recordFailure(o *ledger.Outcome, v verdict, r ledger.Receipt) {
	failures := r.ConsecutiveFailures + 1
	// What accuses the receipt must be said again and again; other trouble in
	// between says nothing about the receipt.
	alike := 1
	if r.LastFailure == v.class {
		alike = r.FailuresAlike + 1
	}
	after := func(wait time.Duration, rule iap.Rule) {
		o.NextCheck = iap.Check{At: o.At.Add(wait), Rule: rule}
	}
	retry := func() {
		after(w.cfg.Retry.backoff(failures), iap.RuleRetry)
		o.Stays = r.RunID != 0 && failures < w.cfg.Retry.Limit
	}
	switch v.action {
	case retryLater:
		retry()
	case retryDaily:
		after(retryDailyAfter, iap.RuleRetry)
	case doubt:
		if alike < w.cfg.Retry.patience(r.State) {
			retry()
			return
		}
		o.State = accused(v.err)
		after(doubtAfter, iap.RuleConfirm)
	case confirm:
		if trusted := r.State == iap.ReceiptValid && v.err == appstore.ErrWrongApp; trusted || alike <= len(confirmAfter) {
			after(confirmAfter[min(alike, len(confirmAfter))-1], iap.RuleConfirm)
			return
		}
		o.State = accused(v.err)
		o.NextCheck = iap.Check{Rule: iap.RuleSetAside}
	case poison:
		if alike < poisonLimit {
			retry()
			return
		}
		fallthrough
	case setAside:
		o.State = accused(v.err)
		o.NextCheck = iap.Check{Rule: iap.RuleSetAside}
	}
}

// accused is the state of a receipt that an error is believed of.
func accused(err error) iap.ReceiptState {
	switch err {
	case appstore.ErrMalformedReceipt:
		return iap.ReceiptMalformed
	case appstore.ErrNotAuthenticated:
		return iap.ReceiptNotAuthenticated
	case appstore.ErrAccountGone:
		return iap.ReceiptAccountGone
	case appstore.ErrWrongApp:
		return iap.ReceiptWrongApp
	case appstore.ErrRequestTooLarge:
		return iap.ReceiptTooLarge
	}
	return iap.ReceiptQuarantined
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
