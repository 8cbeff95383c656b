package report

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/phrase"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// Backfill is a backfill with its figures.
type Backfill struct {
	runs.Totals
	Filter json.RawMessage `json:"filter"`
	// Fed is whether a process feeds it now.
	Fed bool `json:"fed"`
}

// NewBackfill is a backfill as it is at a time.
func NewBackfill(t runs.Totals, now time.Time) Backfill {
	line := Backfill{Totals: t, Filter: json.RawMessage("{}")}
	if t.Filter != nil {
		line.Filter = json.RawMessage(*t.Filter)
	}
	line.Fed = t.State == runs.Running && t.OwnerUntil.After(now)
	return line
}

// Estimate is what a backfill would do.
type Estimate struct {
	Receipts int64 `json:"receipts"`
	// ChosenBy is the filter in words.
	ChosenBy string                   `json:"chosen_by"`
	Counts   []repository.FilterCount `json:"by_app_and_status"`
	Share    float64                  `json:"share"`
	// SecondsAlone and SecondsBeside are how long it takes at the configured
	// rates, without and with another run next to it.
	SecondsAlone  float64 `json:"seconds_alone"`
	SecondsBeside float64 `json:"seconds_with_another_run"`
	// PausedApps are apps whose receipts have to wait.
	PausedApps []string `json:"paused_apps"`
}

// EstimateStore has what an estimate is made from.
type EstimateStore interface {
	appStore
	CountChosen(ctx context.Context, f runs.Filter) ([]repository.FilterCount, error)
}

// ReadEstimate says what a backfill with a part of the rate would do.
func ReadEstimate(ctx context.Context, store EstimateStore, filter runs.Filter, share float64) (Estimate, error) {
	counts, err := store.CountChosen(ctx, filter)
	if err != nil {
		return Estimate{}, err
	}
	apps, err := store.Apps(ctx)
	e := newEstimate(counts, apps, share)
	e.ChosenBy = FilterText(filter)
	return e, err
}

// newEstimate adds up counts. Apps are checked side by side, so that the
// slowest one takes the time.
func newEstimate(counts []repository.FilterCount, apps []apps.App, share float64) Estimate {
	e := Estimate{Counts: append([]repository.FilterCount{}, counts...), Share: share, PausedApps: []string{}}
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

// FilterText says what the receipts were chosen by.
func (b Backfill) FilterText() string {
	var f struct {
		runs.Filter
		IDs int `json:"ids"`
	}
	if err := json.Unmarshal(b.Filter, &f); err != nil {
		return "filter " + string(b.Filter)
	}
	return filterText(f.Filter, f.IDs)
}

// FilterText says what a filter chooses receipts by.
func FilterText(f runs.Filter) string { return filterText(f, len(f.IDs)) }

func filterText(f runs.Filter, ids int) string {
	var parts []string
	add := func(name string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			parts = append(parts, name+" "+strings.Join(values, ","))
		}
	}
	add("app", f.BundleIDs...)
	add("customer", f.CustomerRefs...)
	add("status", texts(f.Statuses)...)
	add("state", texts(f.States)...)
	add("last result", f.LastResults...)
	add("checked before", timeText(f.CheckedBefore))
	add("expiring from", timeText(f.ExpiresFrom))
	add("expiring until", timeText(f.ExpiresUntil))
	if ids > 0 {
		add("ids", fmt.Sprint(ids))
	}
	if len(parts) == 0 {
		return "all receipts"
	}
	return strings.Join(parts, "; ")
}

// timeText is when, and empty for the zero time.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return phrase.Time(t)
}

func texts[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}
