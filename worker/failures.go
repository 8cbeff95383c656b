package worker

import (
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

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
	case appstore.ErrRequestTooLarge, appstore.ErrTooLargeToSend:
		return iap.ReceiptTooLarge
	}
	return iap.ReceiptQuarantined
}
