package main

import (
	"time"

	"github.com/robfig/cron/v3"

	"revalidator/internal/forecast"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// policy is when receipts are looked at, for a run at each slot of the
// schedule.
func (s *parts) policy() (iap.Policy, error) {
	schedule, err := s.schedule()
	if err != nil {
		return iap.Policy{}, err
	}
	policy := iap.DefaultPolicy()
	if every := runEvery(schedule, s.now().In(s.cfg.Schedule.TimeZone.Location)); every > 0 {
		policy.RunEvery = every
	}
	return policy, nil
}

// runEvery is how far apart the next slots of a schedule are on average, and 0
// where it has none.
func runEvery(schedule cron.Schedule, from time.Time) time.Duration {
	const slots = 100
	first := schedule.Next(from)
	last := first
	for range slots {
		last = schedule.Next(last)
	}
	if !last.After(first) {
		return 0
	}
	return last.Sub(first) / slots
}

// planOf plans as the workers do, each app by its own policy; hourly for a run
// each hour in place of those of the schedule.
func (s *parts) planOf(apps []ledger.App, hourly bool) (forecast.Plan, error) {
	base, err := s.policy()
	if err != nil {
		return nil, err
	}
	if hourly {
		base.RunEvery = time.Hour
	}
	of := policyOf(apps, base)
	return func(bundleID string, c iap.Conclusion, now time.Time, id int64) iap.Check {
		return of(bundleID).Plan(c, now, id)
	}, nil
}

// policyOf is the policy of each app, and base for one that is not known.
func policyOf(apps []ledger.App, base iap.Policy) func(bundleID string) iap.Policy {
	policies := make(map[string]iap.Policy, len(apps))
	for _, a := range apps {
		policies[a.BundleID] = a.Policy(base)
	}
	return func(bundleID string) iap.Policy {
		if policy, known := policies[bundleID]; known {
			return policy
		}
		return base
	}
}
