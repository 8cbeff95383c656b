package iap

import (
	"fmt"
	"strconv"
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
		{RuleRenewal, "active, set to renew", fmt.Sprintf("by a run of the last %s before it expires, where there is one; %s after", inWords(p.lead()), after)},
		{RuleExpiry, "active, renewal turned off", after + " after it expires"},
		{RulePriceIncrease, "active, a price increase waits for consent", every(p.PriceIncrease)},
		{RuleRefundSweep, "active, and more than " + inWords(p.sweepFrom()) + " to go", fmt.Sprintf("%s at most, %s from %s after the purchase on; the last time %s before it expires", every(p.SweepEvery), every(p.SweepLate), inWords(p.SweepLateFrom), inWords(p.SweepLast))},
		{RuleGracePeriod, "payment failed, in the grace period", every(p.FailedPayment)},
		{RuleGracePeriodEnd, "payment failed, and Apple's or the app's own grace period ends", after + " after its end"},
		{RuleBillingRetry, "payment failed, Apple keeps trying", fmt.Sprintf("%s; from %s after expiry on, after 1/%d of the time since", every(p.FailedPayment), inWords(p.BillingRetryLateFrom), p.BillingRetryShare)},
		{RuleBillingRetryEnd, "Apple stops trying, " + inWords(p.BillingRetryFor) + " after expiry", fmt.Sprintf("%s after; %s where it continues", after, every(p.BillingRetryOverdue))},
		{RuleLapse, "expired within the last day, and Apple gave no reason", steps(p.LapseSteps) + " after expiry"},
		{RuleResubscribe, "ended: expired, or refunded", fmt.Sprintf("%s after the end, then %s, for %s", steps(p.ResubscribeSteps), every(p.ResubscribeEvery), inWords(p.ResubscribeFor))},
		{RuleRefundReversal, "refunded within the last " + inWords(p.ReversalFor), fmt.Sprintf("like `resubscribe`; a refund can be reversed, and is confirmed %s after a reply shows that", inWords(reversalAfter))},
		{RulePurchaseSweep, "one-time purchase", fmt.Sprintf("%s, for %s", every(p.SweepEvery), inWords(p.PurchaseFor))},
		{RuleUndated, "Apple does not date the newest period", every(p.Undated)},
		{RuleNoPurchases, "nothing was ever bought", every(p.SweepEvery)},
		{RuleSettled, "ended for longer, or another subscription of its group is live", "never again"},
	}
}

// units are those in which durations are said, the largest first.
var units = []struct {
	length time.Duration
	name   string
}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}

// steps are durations in the largest unit that suits all of them.
func steps(all []time.Duration) string {
	for _, u := range units {
		numbers := make([]string, 0, len(all))
		for _, d := range all {
			if d%u.length != 0 {
				break
			}
			numbers = append(numbers, strconv.Itoa(int(d/u.length)))
		}
		if last := len(numbers) - 1; last > 0 && len(numbers) == len(all) {
			return strings.Join(numbers[:last], ", ") + " and " + numbers[last] + " " + u.name + "s"
		}
	}
	return fmt.Sprint(all)
}

func every(d time.Duration) string {
	return "every " + strings.TrimPrefix(inWords(d), "1 ")
}

// inWords is a duration in the largest unit that it is a multiple of.
func inWords(d time.Duration) string {
	for _, u := range units {
		switch {
		case d == u.length:
			return "1 " + u.name
		case d != 0 && d%u.length == 0:
			return fmt.Sprintf("%d %ss", d/u.length, u.name)
		}
	}
	return d.String()
}
