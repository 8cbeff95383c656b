package iap

// Rule names why a receipt is checked next when it is. It is stored with
// the receipt, so that an operator can always ask.
type Rule string

// The rules of Plan: one for each state that a subscription or purchase can be
// in. Policy.Table says what each of them does.
const (
	RuleRenewal         Rule = "renewal"           // active, renews: just before and just after it expires
	RuleExpiry          Rule = "expiry"            // active, renewal turned off: just after it expires
	RulePriceIncrease   Rule = "price_increase"    // active, a price increase waits for the customer's consent
	RuleRefundSweep     Rule = "refund_sweep"      // active for long: a refund or another product can come at any time
	RuleLapse           Rule = "lapse"             // expired less than a day ago without a reason: Apple may be late
	RuleGracePeriod     Rule = "grace_period"      // payment failed, the customer keeps the service
	RuleGracePeriodEnd  Rule = "grace_period_end"  // just after the grace period, Apple's or the app's own
	RuleBillingRetry    Rule = "billing_retry"     // payment failed, Apple keeps trying
	RuleBillingRetryEnd Rule = "billing_retry_end" // Apple has just stopped trying, or should have
	RuleResubscribe     Rule = "resubscribe"       // ended: people come back
	RuleRefundReversal  Rule = "refund_reversal"   // revoked lately: a refund can be reversed; or shown as reversed once
	RulePurchaseSweep   Rule = "purchase_sweep"    // a one-time purchase: it can be refunded
	RuleUndated         Rule = "undated"           // Apple does not date the newest period of a subscription
	RuleNoPurchases     Rule = "no_purchases"      // nothing was ever bought
	RuleSettled         Rule = "settled"           // nothing is expected any more: no next check
)

// The rule that a new receipt starts with, and those that stand in for Plan
// where Apple gave no facts to plan from.
const (
	RuleNew          Rule = "new"
	RuleRequested    Rule = "requested"     // a person asked for a check
	RuleRetry        Rule = "retry"         // no usable answer: after a back-off
	RuleWait         Rule = "wait"          // not asked: a limit is in force
	RuleHeldBack     Rule = "held_back"     // not asked: Apple was failing
	RuleClockDiffers Rule = "clock_differs" // asked, but the time of the reply was not near ours
	RuleCovered      Rule = "covered"       // another receipt shows all that this one shows, and is checked instead
	RuleShowsLess    Rule = "shows_less"    // a reply showed less than is stored: after a back-off
	RuleConfirm      Rule = "confirm"       // Apple says something final: confirm it on another day
	RuleQuarantined  Rule = "quarantined"   // no other answer can come: a person decides
	// RuleQuarantineCheck is in place of RuleQuarantined where the receipt shows a live subscription.
	RuleQuarantineCheck Rule = "quarantine_check"
)
