package iap

import (
	"fmt"
	"strings"
	"time"
)

// PolicyRow is one line of a policy in words.
type PolicyRow struct {
	Rule Rule
	// State is what a subscription or purchase is in, When the looks at it.
	State, When string
}

// Table is the policy in words, one row for each rule of Plan.
func (p Policy) Table() []PolicyRow {
	after := inWords(p.AfterExpiry)
	return []PolicyRow{
		{RuleRenewal, "active, set to renew", fmt.Sprintf("by a run of the last %s before it expires, where there is one, and %s after", inWords(p.lead()), after)},
		{RuleExpiry, "active, renewal turned off", after + " after it expires"},
		{RulePriceIncrease, "active, a price increase waits for consent", "every " + inWords(p.PriceIncrease)},
		{RuleRefundSweep, "active, and more than " + inWords(p.sweepFrom()) + " to go", fmt.Sprintf("every %s at most, every %s from %s after the purchase on, the last time %s before it expires", inWords(p.SweepEvery), inWords(p.SweepLate), inWords(p.SweepLateFrom), inWords(p.SweepLast))},
		{RuleGracePeriod, "payment failed, in the grace period", "every " + inWords(p.FailedPayment)},
		{RuleGracePeriodEnd, "payment failed, and Apple's or the app's own grace period ends", after + " after its end"},
		{RuleBillingRetry, "payment failed, Apple keeps trying", fmt.Sprintf("every %s; from %s after expiry on, when 1/%d of the time since has passed", inWords(p.FailedPayment), inWords(p.BillingRetryLateFrom), p.BillingRetryShare)},
		{RuleBillingRetryEnd, "Apple stops trying, " + inWords(p.BillingRetryFor) + " after expiry", fmt.Sprintf("%s after; every %s where it goes on", after, inWords(p.BillingRetryOverdue))},
		{RuleLapse, "expired within the last day, and Apple gave no reason", stepsInWords(p.LapseSteps) + " after expiry"},
		{RuleResubscribe, "ended: expired, or refunded", fmt.Sprintf("%s after the end, then every %s; for %s", stepsInWords(p.ResubscribeSteps), inWords(p.ResubscribeEvery), inWords(p.ResubscribeFor))},
		{RuleRefundReversal, "refunded within the last " + inWords(p.ReversalFor), "as above"},
		{RulePurchaseSweep, "one-time purchase", fmt.Sprintf("every %s until %s after it", inWords(p.SweepEvery), inWords(p.PurchaseFor))},
		{RuleNoPurchases, "nothing was ever bought", "every " + inWords(p.SweepEvery)},
		{RuleSettled, "ended for longer, or another subscription of its group is live", "never again"},
	}
}

// Markdown is the table as a document shows it.
func (p Policy) Markdown() string {
	var text strings.Builder
	text.WriteString("| Rule | State | Looked at |\n| --- | --- | --- |\n")
	for _, row := range p.Table() {
		fmt.Fprintf(&text, "| `%s` | %s | %s |\n", row.Rule, row.State, row.When)
	}
	return text.String()
}

func stepsInWords(steps []time.Duration) string {
	words := make([]string, len(steps))
	for i, d := range steps {
		words[i] = inWords(d)
	}
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// inWords is a duration in the largest unit that it is a multiple of.
func inWords(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d != 0 && d%u.unit == 0 {
			if d == u.unit {
				return "1 " + u.name
			}
			return fmt.Sprintf("%d %ss", d/u.unit, u.name)
		}
	}
	return d.String()
}
