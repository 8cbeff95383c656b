package main

import (
	"time"

	"revalidator/internal/iap"
)

// policy is when receipts are looked at, at runs as far apart as those of the
// schedule are on average.
func (s *parts) policy() (iap.Policy, error) {
	policy := iap.DefaultPolicy()
	schedule, err := s.schedule()
	if err != nil {
		return iap.Policy{}, err
	}
	const runs = 100
	first := schedule.Next(time.Now().In(s.cfg.Schedule.TimeZone.Location))
	last := first
	for range runs {
		last = schedule.Next(last)
	}
	if last.After(first) {
		policy.RunEvery = last.Sub(first) / runs
	}
	return policy, nil
}
