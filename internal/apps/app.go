// Package apps holds what is known of an app whose receipts are kept fresh: its
// policy, its source with the budgets of its rate, its shared secrets, and why it is
// paused.
package apps

import (
	"cmp"
	"time"

	"revalidator/internal/iap"
)

// App is one bundle id whose receipts are kept fresh.
type App struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	Name     string `db:"name" json:"name"`
	// RatePerSecond is how many calls to Apple per second the app may make in
	// each environment, over all workers together; Burst is how many of them
	// may come at once.
	RatePerSecond float64 `db:"rate_per_second" json:"rate_per_second"`
	Burst         int     `db:"burst" json:"burst"`
	// Source is what is asked about the app's receipts.
	Source Source `db:"source" json:"source"`
	// GraceDays, ResubscribeDays and SweepDays take the place of what the policy
	// of looks says for all apps; nil leaves it. See Policy.
	GraceDays       *int `db:"grace_days" json:"grace_days"`
	ResubscribeDays *int `db:"resubscribe_days" json:"resubscribe_days"`
	SweepDays       *int `db:"sweep_days" json:"sweep_days"`
	// PausedAt is nil while the app is at work.
	PausedAt *time.Time `db:"paused_at" json:"paused_at"`
	// PausedCode is why it is paused, and PausedText what the person wrote who paused
	// it; see PauseReason.
	PausedCode *string `db:"paused_code" json:"paused_code"`
	PausedText *string `db:"paused_text" json:"paused_text"`
	// QuarantineStoppedAt is nil while receipts of the app may be quarantined;
	// QuarantineStoppedFor is the class of failure that too many had at once.
	QuarantineStoppedAt  *time.Time `db:"quarantine_stopped_at" json:"quarantine_stopped_at"`
	QuarantineStoppedFor *string    `db:"quarantine_stopped_for" json:"quarantine_stopped_for"`
	CreatedAt            time.Time  `db:"created_at" json:"created_at"`
}

// SourceOrDefault is the source, verifyReceipt where none is given.
func (a App) SourceOrDefault() Source { return cmp.Or(a.Source, SourceVerifyReceipt) }

// Budget names what the rate of the app is kept for: each endpoint of its source
// has a budget of its own.
func (a App) Budget(at Endpoint) Budget {
	return Budget{BundleID: a.BundleID, Source: a.SourceOrDefault(), Endpoint: at}
}

// Policy is the policy of looks for the app's receipts, made from that for all
// apps.
func (a App) Policy(p iap.Policy) iap.Policy {
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	if a.GraceDays != nil {
		p.GraceFor = days(*a.GraceDays)
	}
	if a.ResubscribeDays != nil {
		p.ResubscribeFor = days(*a.ResubscribeDays)
	}
	if a.SweepDays != nil {
		p = p.WithSweep(days(*a.SweepDays))
	}
	return p
}

// Policies is the policy of each app, and base for one that is not known.
func Policies(apps []App, base iap.Policy) func(bundleID string) iap.Policy {
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
