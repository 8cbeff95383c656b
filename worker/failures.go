package worker

import (
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
)

// recordFailure says when to check again, and what to make of the receipt. The
// subscriptions that it shows stay as they are.
func (w *Worker) recordFailure(o *claim.Outcome, c Class, r claim.Receipt) {
	switch c.Action {
	case Accuse:
		w.accuse(o, quarantineRule(c.Name), r)
	case RetryDaily:
		o.NextCheck = iap.Check{At: o.At.Add(aDay), Rule: iap.RuleRetry}
	default:
		w.retry(o, r)
	}
}

// retry checks again after a back-off.
func (w *Worker) retry(o *claim.Outcome, r claim.Receipt) {
	failures := r.ConsecutiveFailures + 1
	o.NextCheck = iap.Check{At: o.At.Add(w.cfg.Retry.backoff(failures)), Rule: iap.RuleRetry}
	o.Stays = r.RunID != 0 && failures < w.cfg.Retry.Limit
}

// accuse holds a failure against a receipt, which is checked again until it was
// said as often, and on as many days, as its rule wants. The verdict is believed
// by the repository, unless it is unusual.
func (w *Worker) accuse(o *claim.Outcome, rule quarantine.Rule, r claim.Receipt) {
	if r.State == rule.State {
		o.NextCheck = rest(rule, o.At)
		return
	}
	needed := rule.Needed(r.Accepted())
	failures, days := alike(r, rule.Class, o.At)
	on := func(wait time.Duration) { o.NextCheck = iap.Check{At: o.At.Add(wait), Rule: iap.RuleConfirm} }
	switch enough := needed.Met(failures, days); {
	case rule.OnOtherDays && (days == 1 || enough || r.App.QuarantineStoppedAt != nil):
		// Where it is enough and not believed, it may turn out to be untrue any day.
		on(aDay)
	case rule.OnOtherDays:
		on(week)
	case !enough && needed.Failures > 0 && failures >= needed.Failures:
		on(aDay) // only another day counts now
	default:
		w.retry(o, r)
	}
	if needed.Met(failures, days) {
		o.Verdict = &quarantine.Verdict{State: rule.State, NextCheck: rest(rule, o.At)}
	}
}
