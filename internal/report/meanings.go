package report

import (
	"fmt"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/internal/quarantine"
	"revalidator/repository"
)

// nextCheckText says why the next check of a receipt is when it is.
func nextCheckText(r repository.StoredReceipt) string {
	if r.CoveredBy != nil {
		return fmt.Sprintf("receipt %d shows everything that this one shows, and is checked instead", *r.CoveredBy)
	}
	return ruleText(r.NextCheckRule)
}

// ruleText says why the next look is when it is.
func ruleText(r iap.Rule) string {
	switch r {
	case iap.RuleNew:
		return "it is new, and has not been checked"
	case iap.RuleRequested:
		return "a check was requested with 'revalidator receipts recheck'"
	case iap.RuleRetry:
		return "the last response failed, so it is checked again after a wait that grows"
	case iap.RuleWait:
		return "a rate limit was in force, so it was not checked and waits"
	case iap.RuleHeldBack:
		return "Apple was failing, so it was not checked, or the response does not count; it waits until Apple responds again"
	case iap.RuleClockDiffers:
		return "the last reply was of another time than the clock shows (REVALIDATOR_CLOCK_TOLERANCE), so nothing of it was stored and it is checked again"
	case iap.RuleConfirm:
		return "Apple's last reply would be final, so it is confirmed on another day"
	case iap.RuleSetAside:
		return "no other response can come, so it is quarantined for a person to decide"
	case iap.RuleQuarantineCheck:
		return "it is quarantined, but shows a subscription that is live, so it is still checked once a week"
	case iap.RuleRenewal:
		return "a subscription is about to renew, or should just have renewed"
	case iap.RuleExpiry:
		return "a subscription that is not set to renew expires just before"
	case iap.RulePriceIncrease:
		return "a price increase waits for the customer's consent, so it is checked once a week"
	case iap.RuleRefundSweep:
		return "a subscription runs for long, and a refund or another product can come at any time"
	case iap.RuleLapse:
		return "a subscription expired within the last day and Apple gave no reason, so the renewal may only be late"
	case iap.RuleGracePeriod:
		return "a payment failed and the customer keeps the service for now, so it may recover any day"
	case iap.RuleGracePeriodEnd:
		return "the grace period of a subscription, Apple's or the app's own, ends just before"
	case iap.RuleBillingRetry:
		return "a payment failed and Apple keeps trying, so it may recover any day"
	case iap.RuleBillingRetryEnd:
		return "Apple stops trying a failed payment 60 days after expiry"
	case iap.RuleResubscribe:
		return "a subscription has ended, and customers come back without opening the app"
	case iap.RuleRefundReversal:
		return "a purchase was refunded lately, and a refund can be reversed"
	case iap.RulePurchaseSweep:
		return "a one-time purchase can be refunded, so it is checked about once a month for a while"
	case iap.RuleUndated:
		return "Apple does not say when the newest period of a subscription ends, so it is checked once a week"
	case iap.RuleCovered:
		return "another receipt shows everything that this one shows, and is checked instead"
	case iap.RuleShowsLess:
		return "the last reply showed less than is stored, which proves nothing; it is checked again soon, after a wait that grows to a day"
	case iap.RuleNoPurchases:
		return "nothing was ever bought, so it is checked about once a month"
	case iap.RuleSettled:
		return "nothing is expected any more: it has ended for long, or cannot change"
	}
	return "by a rule that this program does not know: " + string(r)
}

// failureText says what a class of failures is, and what happens next. The
// classes are those of the worker's table.
func failureText(class string) string {
	switch class {
	case "receipt_malformed":
		return "Apple could not read the receipt, or was failing: the code means both. It is checked again, and only after many such replies in a row, on different days, is it quarantined."
	case "receipt_not_authenticated":
		return "Apple could not authenticate the receipt. It is checked again, and only after many such replies in a row, on different days, is it quarantined."
	case "account_gone":
		return "Apple does not find the customer's account. That is confirmed on two other days, then the receipt is quarantined."
	case "wrong_app":
		return "Apple says that the receipt belongs to another app. That is confirmed on two other days, then the receipt is quarantined, unless Apple accepted it before: import it for the right one."
	case "panicked":
		return "The program panicked while it checked the receipt, a fault of ours: please report it with the stack in the worker's log. The third time in a row it is quarantined; on the third day where Apple accepted it before."
	case "save_refused":
		return "Postgres will never store what Apple said of the receipt, while it stores the others: the worker's log has the reason. It is checked again after a wait, and quarantined when that does not help; on the third day where Apple accepted it before."
	case "request_too_large":
		return "Apple answered that the request was too large (HTTP 413), and it was near the limit. That is confirmed on two other days, then the receipt is quarantined."
	case "too_large_to_send":
		return "The request would be larger than REVALIDATOR_MAX_REQUEST_BYTES, so it was not sent, and the receipt is quarantined; on the third day where Apple accepted it before."
	case "proxy_refused_size":
		return "Something between here and Apple refused the request for its size (HTTP 413), which is far below Apple's limit: raise the limit of that proxy. It is checked again after a wait, and this does not count against the receipt."
	case "apple_unavailable", "server_error":
		return "Apple's server failed. It is checked again after a wait."
	case "apple_internal_error":
		return "Apple had an internal error and said that a retry will not help soon. It is checked again the next day."
	case "environments_disagree":
		return "Production and Sandbox each sent the receipt to the other. It is checked again after a wait; check the addresses in the settings."
	case "request_refused":
		return "Apple could not read the request, a fault of this program or of a proxy on the way. It is checked again after a wait."
	case "unknown_status":
		return "Apple replied with a code that it does not document. It is checked again after a wait."
	case "timeout":
		return "Apple did not answer in time (REVALIDATOR_APPLE_TIMEOUT). It is checked again after a wait."
	case "connection_failed":
		return "Apple could not be reached. It is checked again after a wait; check the network and the addresses in the settings."
	case "http_status", "reply_empty", "reply_not_json", "reply_cut", "reply_malformed":
		return "What came back was no whole reply of verifyReceipt. It is checked again after a wait; check for a proxy on the way."
	case claim.ClassShowsLess:
		return "The reply shows neither the newest period that is stored nor a later one. That proves nothing, and what is stored stays. Once three replies on three days after the end of a subscription do not show it, it counts as expired."
	case "reply_too_large":
		return "The reply was larger than is read (REVALIDATOR_MAX_REPLY_BYTES, _DEPTH or _RECORDS, or REVALIDATOR_MEMORY_BYTES). It is checked again after a wait."
	}
	return phrase.Words(class) + "."
}

// HeldAgainst says how often a failure was said that leads to quarantine, and how
// often that takes; it is empty for other failures, and in quarantine.
func HeldAgainst(r repository.StoredReceipt) string {
	for _, rule := range quarantine.Rules() {
		if r.LastError == nil || *r.LastError != rule.Class || r.State.Quarantined() {
			continue
		}
		said := quarantine.Repeats{Failures: r.FailuresAlike, Days: r.AlikeDays}
		if r.AcceptedAt == nil {
			return fmt.Sprintf("So far: %s, of a receipt that Apple never accepted. Quarantined: %s.", said, rule.New)
		}
		return fmt.Sprintf("So far: %s, of a receipt that Apple accepted, last on %s. Quarantined: %s.", said, phrase.Time(*r.AcceptedAt), rule.Accepted)
	}
	return ""
}

// stateText says what a state of a receipt means, and what helps where one
// stands in the way; it is empty for the states in which all is well.
func stateText(s iap.ReceiptState) string {
	switch s {
	case iap.ReceiptMalformed:
		return "Apple could not read the receipt, again and again: have the app send a fresh one. It is still checked once a week."
	case iap.ReceiptNotAuthenticated:
		return "Apple refused the receipt as not authentic, again and again: look into where it came from. It is still checked once a week."
	case iap.ReceiptWrongApp:
		return "the receipt belongs to another app: import it for that one, and forget it here."
	case iap.ReceiptAccountGone:
		return "Apple does not find the account any more: nothing helps, and it is not checked any more."
	case iap.ReceiptTooLarge:
		return "the receipt is larger than verifyReceipt takes: have the app refresh it, or finish its consumables, and import the smaller one."
	case iap.ReceiptXcode:
		return "the receipt is of Xcode's StoreKit testing, which the App Store does not know: it is never checked."
	case iap.ReceiptQuarantined:
		return "the program panicked while it checked the receipt, or Postgres refused what Apple says of it, again and again: please report it with the worker's log, and when that is fixed, 'revalidator receipts release'."
	}
	return ""
}

// Obstacles are what stands between a receipt and its next look.
func Obstacles(r repository.StoredReceipt, now time.Time) []string {
	found := []string{}
	if r.AppPausedAt != nil && r.AppPausedCode != nil {
		found = append(found, pausedObstacle(r))
	}
	if r.AppQuarantineStoppedAt != nil && HeldAgainst(r) != "" {
		found = append(found, fmt.Sprintf("not quarantined: quarantining of %s is stopped since %s, because too many good receipts had the same failure; see 'revalidator doctor'.",
			r.BundleID, phrase.Time(*r.AppQuarantineStoppedAt)))
	}
	if text := stateText(r.State); text != "" {
		found = append(found, phrase.Words(string(r.State))+": "+text)
	}
	switch {
	case r.ClaimedUntil != nil && r.ClaimedUntil.After(now):
		found = append(found, fmt.Sprintf("claimed: %s checks it now, until %s at the latest.", runName(r), phrase.Time(*r.ClaimedUntil)))
	case r.ClaimedUntil != nil:
		found = append(found, fmt.Sprintf("expired claim: %s had it until %s; the next scheduler or run releases it.", runName(r), phrase.Time(*r.ClaimedUntil)))
	}
	return found
}

func pausedObstacle(r repository.StoredReceipt) string {
	text := fmt.Sprintf("paused: %s is paused since %s: %s.", r.BundleID, phrase.Time(*r.AppPausedAt), apps.PauseReason(r.AppPausedCode, r.AppPausedText))
	switch *r.AppPausedCode {
	case apps.PausedNoSecret, apps.PausedSecretRefused:
		text += " Add a shared secret that Apple accepts: 'revalidator secrets add --app " + r.BundleID + "'."
	}
	return text
}

func runName(r repository.StoredReceipt) string {
	if r.RunID == nil {
		return "a worker"
	}
	return fmt.Sprintf("run %d", *r.RunID)
}
