package simulation

import (
	"fmt"
	"time"

	"revalidator/internal/iap"
)

// Comparison is the four policies on one population.
type Comparison struct {
	Outcome
	// Everything and AutoRenewing are what others do, (a) and (b); Nightly and
	// Hourly are ours, (c) and (d).
	Everything, AutoRenewing, Nightly, Hourly *Result
}

// Compare has (a) to (d) look at the same lives. It takes the policies in
// place of those of the configuration.
func Compare(c Config) Comparison {
	ours := iap.DefaultPolicy()
	hourly := ours
	hourly.RunEvery = time.Hour
	c.Policies = []*Policy{
		EveryNight(), AutoRenewing(),
		Planned("c", "ours, nightly", ours), Planned("d", "ours, hourly", hourly),
	}
	c.Against = 1
	o := Run(c)
	return Comparison{o, o.Results[0], o.Results[1], o.Results[2], o.Results[3]}
}

// Target is what a comparison must show.
type Target struct {
	Text, Got string
	Met       bool
}

// Targets holds a comparison to what it must show. A population with a long
// dead tail is not held to a number of calls of (b), which never asks about
// anybody in the tail.
func (c Comparison) Targets(deadTail bool) []Target {
	all := []Target{atLeast("(c): times fewer calls than (a)", ratio(c.Everything.Calls, c.Nightly.Calls), 20)}
	for _, k := range []Kind{Renewal, Lapse, GracePeriod, BillingRetry, Recovery, PlanChange, Resubscribe} {
		all = append(all, c.found(k, 99.5))
	}
	// Who is refunded and subscribes again before the old period would have
	// ended hides the refund, and looks weeks apart do not see it.
	all = append(all, c.found(Refund, 85), c.found(LongRefund, 85))
	for _, k := range []Kind{Renewal, Lapse} {
		limit := c.Everything.Kinds[k].Quantile(0.95) + time.Hour
		all = append(all, c.Nightly.stale("c", k, limit))
	}
	all = append(all,
		c.Nightly.stale("c", Recovery, 30*time.Hour),
		c.Nightly.stale("c", Refund, 31*day),
		c.Nightly.stale("c", LongRefund, 31*day),
		c.Nightly.stale("c", Resubscribe, 31*day),
		c.Hourly.stale("d", Renewal, 2*time.Hour),
		c.Hourly.stale("d", Lapse, 2*time.Hour),
		atMost("(d): times the calls of (c)", ratio(c.Hourly.Calls, c.Nightly.Calls), 1.3),
	)
	if deadTail {
		return all
	}
	for _, k := range []Kind{Lapse, LongRefund, Resubscribe} {
		missed := c.AutoRenewing.Kinds[k].Missed
		all = append(all, atLeast(fmt.Sprintf("(c): %% of %s found that (b) misses", k), 100*ratio(c.Nightly.Kinds[k].Beyond, missed), 85))
	}
	return append(all, atMost("(c): times the calls of (b)", ratio(c.Nightly.Calls, c.AutoRenewing.Calls), 1.5))
}

func ratio(a, b int) float64 { return float64(a) / float64(max(b, 1)) }

// found leaves out what lies behind a return that was seen later.
func (c Comparison) found(k Kind, least float64) Target {
	f := &c.Nightly.Kinds[k]
	return atLeast(fmt.Sprintf("(c): %% of %s found that (a) finds", k), 100*ratio(f.Detected, f.Detected+f.Missed-f.Hidden), least)
}

func (r *Result) stale(name string, k Kind, most time.Duration) Target {
	got := r.Kinds[k].Quantile(0.95)
	return Target{
		Text: fmt.Sprintf("(%s): 95%% of %s seen within %s", name, k, Short(most)),
		Got:  Short(got), Met: got <= most,
	}
}

func atLeast(text string, got, least float64) Target {
	return Target{Text: fmt.Sprintf("%s, at least %.4g", text, least), Got: fmt.Sprintf("%.2f", got), Met: got >= least}
}

func atMost(text string, got, most float64) Target {
	return Target{Text: fmt.Sprintf("%s, at most %.4g", text, most), Got: fmt.Sprintf("%.2f", got), Met: got <= most}
}

// Short is a staleness in days, hours or minutes.
func Short(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%.1f d", d.Hours()/24)
	case d >= time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}
