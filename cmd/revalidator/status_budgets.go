package main

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
)

// budgetReport is the budget of calls of an app in an environment that is not as
// configured.
type budgetReport struct {
	BundleID    string          `json:"bundle_id"`
	Environment iap.Environment `json:"environment"`
	// RateShare is the part of the configured rate that is in force.
	RateShare float64 `json:"rate_share"`
	// HeldBackSince is nil while calls are made. No calls but a few probes are
	// made after ProbedAt, and none before; HeldBackFor is the class of failure.
	HeldBackSince *time.Time `json:"held_back_since"`
	HeldBackFor   string     `json:"held_back_for"`
	ProbedAt      *time.Time `json:"probed_at"`
}

// budgets lists those that are not as configured.
func (s *parts) budgets(ctx context.Context) ([]budgetReport, error) {
	limiter, err := s.limiter()
	if err != nil {
		return nil, err
	}
	impaired, err := limiter.Impaired(ctx)
	if err != nil {
		return nil, err
	}
	budgets := make([]budgetReport, len(impaired))
	for i, s := range impaired {
		b := budgetReport{RateShare: s.Share, HeldBackFor: s.Why}
		b.BundleID, b.Environment = ledger.SplitBudget(s.Key)
		if s.Open {
			b.HeldBackSince, b.ProbedAt = &s.Since, &s.Until
		}
		budgets[i] = b
	}
	return budgets, nil
}

// text says how a budget stands, for people.
func (b budgetReport) text(now time.Time, o printer) string {
	name := fmt.Sprintf("%s (%s)", b.BundleID, b.Environment)
	switch {
	case b.HeldBackSince == nil:
		return o.paint(yellow, fmt.Sprintf("%s shows distress: %.0f %% of the rate", name, 100*b.RateShare))
	case b.ProbedAt.After(now):
		return o.paint(red, fmt.Sprintf("%s held back since %s, for %s; probed at %s", name,
			whenAgo(*b.HeldBackSince, now), words(b.HeldBackFor), when(*b.ProbedAt)))
	}
	return o.paint(red, fmt.Sprintf("%s held back since %s, for %s; being probed", name,
		whenAgo(*b.HeldBackSince, now), words(b.HeldBackFor)))
}
