package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"revalidator/internal/forecast"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/repository"
)

// forecastReport is a forecast, for scripts and for people.
type forecastReport struct {
	At time.Time `json:"at"`
	// Every is night or hour.
	Every         string  `json:"every"`
	Days          int     `json:"days"`
	TimeZone      string  `json:"time_zone"`
	WindowSeconds float64 `json:"window_seconds"`
	// Receipts is how many have a next look in this time, CountedOnce how many
	// of them show nothing that a look after that could follow from.
	Receipts    int64 `json:"receipts"`
	CountedOnce int64 `json:"counted_once"`
	// Sampled is from how many of them repeated looks are projected, nil where
	// it is all.
	Sampled  *int              `json:"sampled"`
	Runs     []forecastRun     `json:"runs"`
	Rules    []ruleLooks       `json:"rules"`
	Apps     []forecastBudget  `json:"apps"`
	Warnings []forecastWarning `json:"warnings"`
	Paused   []forecastPaused  `json:"paused_apps"`

	rates map[string]float64
}

// forecastRun is a night, or an hour.
type forecastRun struct {
	Start time.Time `json:"start"`
	// Due is what it finds due, of which Left is still due when its window is
	// over.
	Due     int64       `json:"due"`
	Left    int64       `json:"left"`
	Seconds float64     `json:"seconds"`
	Fits    bool        `json:"fits"`
	Rules   []ruleLooks `json:"rules"`
	Apps    []runBudget `json:"apps"`
}

// ruleLooks is how often Apple is asked by a rule.
type ruleLooks struct {
	Rule  iap.Rule `json:"rule"`
	Looks int64    `json:"looks"`
}

// runBudget is an app in an environment in one run.
type runBudget struct {
	BundleID    string          `json:"bundle_id"`
	Environment iap.Environment `json:"environment"`
	Due         int64           `json:"due"`
	Left        int64           `json:"left"`
	Seconds     float64         `json:"seconds"`
	Rules       []ruleLooks     `json:"rules"`
}

// forecastBudget is an app in an environment over all runs.
type forecastBudget struct {
	BundleID       string          `json:"bundle_id"`
	Environment    iap.Environment `json:"environment"`
	RatePerSecond  float64         `json:"rate_per_second"`
	Looks          int64           `json:"looks"`
	LongestSeconds float64         `json:"longest_seconds"`
}

// forecastWarning is an app that some run is too short for.
type forecastWarning struct {
	BundleID    string          `json:"bundle_id"`
	Environment iap.Environment `json:"environment"`
	// Runs is how many leave something, First the first of them, and Worst the
	// one that leaves the most, which is Left.
	Runs  int       `json:"runs"`
	First time.Time `json:"first"`
	Worst time.Time `json:"worst"`
	Left  int64     `json:"left"`
	// CaughtUp is from when on nothing is left, nil for not in this time.
	CaughtUp      *time.Time `json:"caught_up"`
	RatePerSecond float64    `json:"rate_per_second"`
	RateNeeded    float64    `json:"rate_needed"`
	// WindowNeeded is the window that is long enough for every run in seconds,
	// nil where that would reach into the next.
	WindowNeeded *float64 `json:"window_seconds_needed"`
	Mend         string   `json:"mend"`
}

// forecastPaused is a paused app, and how many of its receipts have their next
// look in this time.
type forecastPaused struct {
	BundleID string  `json:"bundle_id"`
	Code     *string `json:"paused_code"`
	Text     *string `json:"paused_text"`
	Receipts int64   `json:"receipts"`
}

func newForecastReport(options forecastOptions, now time.Time, zone *time.Location, apps []ledger.App) *forecastReport {
	r := &forecastReport{
		At: now.UTC(), Every: "night", Days: options.days, TimeZone: zone.String(),
		rates: make(map[string]float64), Paused: []forecastPaused{},
	}
	if options.hourly {
		r.Every = "hour"
	}
	for _, a := range apps {
		r.rates[a.BundleID] = a.RatePerSecond
		if a.PausedAt != nil {
			r.Paused = append(r.Paused, forecastPaused{BundleID: a.BundleID, Code: a.PausedCode, Text: a.PausedText})
		}
	}
	return r
}

// withoutPaused is what is planned of the apps at work.
func (r *forecastReport) withoutPaused(groups []repository.PlannedGroup) []forecast.Group {
	paused := make(map[string]*forecastPaused, len(r.Paused))
	for i := range r.Paused {
		paused[r.Paused[i].BundleID] = &r.Paused[i]
	}
	working := make([]forecast.Group, 0, len(groups))
	for _, g := range groups {
		if p, ok := paused[g.BundleID]; ok {
			p.Receipts += g.Receipts
			continue
		}
		r.Receipts += g.Receipts
		working = append(working, forecast.Group{
			Budget: forecast.Budget{BundleID: g.BundleID, Environment: g.Environment},
			Rule:   g.Rule, Slot: g.Slot, Receipts: g.Receipts,
		})
	}
	return working
}

// fill adds what was projected of receipts.
func (r *forecastReport) fill(receipts []forecast.Receipt, runs []forecast.Run, shortages []forecast.Shortage) {
	var once float64
	for _, receipt := range receipts {
		if receipt.Known == nil {
			once += receipt.Weight
		}
	}
	r.CountedOnce = whole(once)
	looks := make(map[iap.Rule]float64)
	apps := make(map[forecast.Budget]*forecastBudget)
	for _, run := range runs {
		r.WindowSeconds = run.Until.Sub(run.Start).Seconds()
		r.Runs = append(r.Runs, newForecastRun(run))
		for _, budget := range run.Budgets() {
			a, ok := apps[budget]
			if !ok {
				a = &forecastBudget{BundleID: budget.BundleID, Environment: budget.Environment, RatePerSecond: r.rates[budget.BundleID]}
				apps[budget] = a
			}
			load := run.Loads[budget]
			a.Looks += whole(sumLooks(load))
			a.LongestSeconds = max(a.LongestSeconds, seconds(load.Lasts))
			add(looks, load.Looks)
		}
	}
	r.Rules = sortedRules(looks)
	r.Apps = []forecastBudget{}
	for _, a := range apps {
		r.Apps = append(r.Apps, *a)
	}
	slices.SortFunc(r.Apps, func(a, b forecastBudget) int {
		return cmp.Or(cmp.Compare(b.LongestSeconds, a.LongestSeconds), cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.Environment, b.Environment))
	})
	r.Warnings = []forecastWarning{}
	for _, s := range shortages {
		r.Warnings = append(r.Warnings, newForecastWarning(s))
	}
}

func newForecastRun(run forecast.Run) forecastRun {
	looks := make(map[iap.Rule]float64)
	f := forecastRun{Start: run.Start, Apps: []runBudget{}}
	for _, budget := range run.Budgets() {
		load := run.Loads[budget]
		add(looks, load.Looks)
		b := runBudget{
			BundleID: budget.BundleID, Environment: budget.Environment,
			Due: whole(sumLooks(load) + load.Left), Left: whole(load.Left), Seconds: seconds(load.Lasts),
			Rules: sortedRules(load.Looks),
		}
		f.Due, f.Left, f.Seconds = f.Due+b.Due, f.Left+b.Left, max(f.Seconds, b.Seconds)
		f.Apps = append(f.Apps, b)
	}
	f.Fits, f.Rules = f.Left == 0, sortedRules(looks)
	return f
}

func add(sums, looks map[iap.Rule]float64) {
	for rule, n := range looks {
		sums[rule] += n
	}
}

func sumLooks(load forecast.Load) (sum float64) {
	for _, n := range load.Looks {
		sum += n
	}
	return sum
}

// sortedRules lists rules, the commonest first.
func sortedRules(looks map[iap.Rule]float64) []ruleLooks {
	rules := []ruleLooks{}
	for _, rule := range slices.Sorted(maps.Keys(looks)) {
		rules = append(rules, ruleLooks{rule, whole(looks[rule])})
	}
	slices.SortStableFunc(rules, func(a, b ruleLooks) int { return cmp.Compare(b.Looks, a.Looks) })
	return rules
}

func whole(n float64) int64 { return int64(math.Round(n)) }

// seconds are as exact as a forecast can be said to be.
func seconds(d time.Duration) float64 { return d.Round(100 * time.Millisecond).Seconds() }
