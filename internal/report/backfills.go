package report

import (
	"context"
	"encoding/json"
	"time"

	"revalidator/internal/ledger"
)

// Backfill is a backfill with its figures.
type Backfill struct {
	ledger.RunTotals
	Filter json.RawMessage `json:"filter"`
	// Fed is whether a process feeds it now.
	Fed bool `json:"fed"`
}

// NewBackfill is a backfill as it is at a time.
func NewBackfill(t ledger.RunTotals, now time.Time) Backfill {
	line := Backfill{RunTotals: t, Filter: json.RawMessage("{}")}
	if t.Filter != nil {
		line.Filter = json.RawMessage(*t.Filter)
	}
	line.Fed = t.State == ledger.RunRunning && t.OwnerUntil.After(now)
	return line
}

// Estimate is what a backfill would do.
type Estimate struct {
	Receipts int64                `json:"receipts"`
	Counts   []ledger.FilterCount `json:"by_app_and_status"`
	Share    float64              `json:"share"`
	// SecondsAlone and SecondsBeside are how long it takes at the configured
	// rates, without and with another run beside it.
	SecondsAlone  float64 `json:"seconds_alone"`
	SecondsBeside float64 `json:"seconds_beside_another_run"`
	// PausedApps are apps whose receipts have to wait.
	PausedApps []string `json:"paused_apps"`
}

// EstimateStore has what an estimate is made from.
type EstimateStore interface {
	appStore
	CountChosen(ctx context.Context, f ledger.Filter) ([]ledger.FilterCount, error)
}

// ReadEstimate says what a backfill with a part of the rate would do.
func ReadEstimate(ctx context.Context, store EstimateStore, filter ledger.Filter, share float64) (Estimate, error) {
	counts, err := store.CountChosen(ctx, filter)
	if err != nil {
		return Estimate{}, err
	}
	apps, err := store.Apps(ctx)
	return newEstimate(counts, apps, share), err
}

// newEstimate adds up counts. Apps are asked about side by side, so that the
// slowest one takes the time.
func newEstimate(counts []ledger.FilterCount, apps []ledger.App, share float64) Estimate {
	e := Estimate{Counts: append([]ledger.FilterCount{}, counts...), Share: share, PausedApps: []string{}}
	seconds := make(map[string]float64)
	for _, c := range counts {
		e.Receipts += c.Receipts
		seconds[c.BundleID] += float64(c.Receipts) / c.RatePerSecond
	}
	for _, a := range apps {
		if seconds[a.BundleID] > 0 && a.PausedAt != nil {
			e.PausedApps = append(e.PausedApps, a.BundleID)
			delete(seconds, a.BundleID)
		}
	}
	for _, s := range seconds {
		e.SecondsAlone = max(e.SecondsAlone, s)
	}
	e.SecondsBeside = e.SecondsAlone / share
	return e
}
