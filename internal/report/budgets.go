package report

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
)

// Budget is the budget of calls of an app in an environment that is not as
// configured.
type Budget struct {
	// BundleID is empty where calls are held back for all apps.
	BundleID    string          `json:"bundle_id"`
	Source      apps.Source     `json:"source"`
	Environment iap.Environment `json:"environment"`
	// Size is of which requests the budget is, where it is not for all.
	Size string `json:"size"`
	// RateShare is the part of the configured rate that is in force.
	RateShare float64 `json:"rate_share"`
	// HeldBackSince is nil while calls are made. No calls but a few probes are
	// made after ProbedAt, and none before; HeldBackFor is the class of failure.
	HeldBackSince *time.Time `json:"held_back_since"`
	HeldBackFor   string     `json:"held_back_for"`
	ProbedAt      *time.Time `json:"probed_at"`
	// BlockedUntil is when Apple may be asked again, as it told with HTTP 429; nil
	// where it did not.
	BlockedUntil *time.Time `json:"blocked_until"`
	// Unreadable is whether what Redis holds was not written by this program.
	Unreadable bool `json:"unreadable"`
}

// ReadBudgets lists the budgets that are not as configured.
func ReadBudgets(ctx context.Context, limiter Limiter) ([]Budget, error) {
	impaired, err := limiter.Impaired(ctx)
	if err != nil {
		return nil, err
	}
	budgets := make([]Budget, len(impaired))
	for i, s := range impaired {
		b := Budget{RateShare: s.Share, HeldBackFor: s.Why}
		budget := apps.ParseBudget(s.Key)
		b.BundleID, b.Source, b.Environment, b.Size = budget.BundleID, budget.Source, budget.Environment, budget.Size
		if s.Open {
			b.HeldBackSince, b.ProbedAt = &s.Since, &s.Until
		}
		if !s.BlockedUntil.IsZero() {
			b.BlockedUntil = &s.BlockedUntil
		}
		b.Unreadable = s.Odd
		budgets[i] = b
	}
	return budgets, nil
}

// obstacle says what a budget means for a receipt.
func (b Budget) obstacle() string {
	switch {
	case b.HeldBackSince != nil && b.BundleID == "":
		return fmt.Sprintf("held back: Apple is failing for most apps since %s (%s), and is not called until a few probes succeed.",
			phrase.Time(*b.HeldBackSince), phrase.Words(b.HeldBackFor))
	case b.HeldBackSince != nil:
		return fmt.Sprintf("held back: calls for this app fail since %s (%s), and no call is made until a few probes succeed.",
			phrase.Time(*b.HeldBackSince), phrase.Words(b.HeldBackFor))
	case b.BlockedUntil != nil:
		return fmt.Sprintf("blocked: Apple wants no call before %s (HTTP 429).", phrase.Time(*b.BlockedUntil))
	}
	return fmt.Sprintf("slower: Apple shows signs of overload, so calls are made at %.0f %% of the rate.", 100*b.RateShare)
}

// Name is of what the budget is, for people.
func (b Budget) Name() string {
	switch {
	case b.BundleID == "":
		return fmt.Sprintf("all apps (%s)", b.Environment)
	case b.Size == "":
		return fmt.Sprintf("%s (%s)", b.BundleID, b.Environment)
	}
	return fmt.Sprintf("%s (%s, requests of %s)", b.BundleID, b.Environment, b.Size)
}
