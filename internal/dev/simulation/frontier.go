package simulation

import (
	"fmt"
	"time"

	"revalidator/internal/iap"
)

// Polled are the changes that come at no set time, for which alone waits can be
// longer or shorter.
var Polled = []Kind{Recovery, Resubscribe, Refund, LongRefund, PlanChange}

// Frontier has many policies look at the same lives: those of Compare, ours with
// all waits stretched, ours without a part of it, and ours with waits that were
// learned from what it found among other customers of the same app.
func Frontier(c Config) Outcome {
	ours := iap.DefaultPolicy()
	variant := func(name string, change func(p *iap.Policy)) *Policy {
		p := ours
		change(&p)
		return Planned(name, "", p)
	}
	shipped := variant("c", func(*iap.Policy) {})
	// It plans as if there were a run at any time, and there is one each night.
	unrounded := variant("c, not rounded", func(p *iap.Policy) { p.RunEvery, p.Jitter = time.Minute, 0.1 })
	unrounded.Every = day
	c.Policies = []*Policy{
		EveryNight(), AutoRenewing(), shipped,
		variant("d", func(p *iap.Policy) { p.RunEvery = time.Hour }),
		variant("c, no look ahead", func(p *iap.Policy) { p.BeforeExpiry = 0 }),
		unrounded,
		variant("c, retry 60 nights", func(p *iap.Policy) { p.BillingRetryLateFrom = p.BillingRetryFor }),
		variant("c, monthly sweeps", func(p *iap.Policy) { p.SweepLate = p.SweepEvery }),
	}
	for _, factor := range []float64{0.5, 0.7, 1.4, 2} {
		c.Policies = append(c.Policies, Planned(fmt.Sprintf("c, waits x %.1f", factor), "", Stretched(ours, factor)))
	}
	learned := Learn(c, shipped)
	for _, scale := range []float64{0.1, 0.2, 0.4, 0.8} {
		c.Policies = append(c.Policies, Learned(fmt.Sprintf("learned, %.1f", scale), ours, learned, scale))
	}
	for _, scale := range []float64{0.2, 0.4, 0.55, 0.8} {
		c.Policies = append(c.Policies, LearnedReturns(fmt.Sprintf("learned tail, %.2f", scale), ours, learned, scale))
	}
	return Run(c)
}
