package main

import (
	"revalidator/internal/iap"
)

// policy is when receipts are checked, for a run at each slot of the
// schedule.
func (s *parts) policy() (iap.Policy, error) {
	schedule, err := s.schedule()
	if err != nil {
		return iap.Policy{}, err
	}
	policy := iap.DefaultPolicy()
	if every := schedule.Every(s.clock.Now()); every > 0 {
		policy.RunEvery = every
	}
	return policy, nil
}
