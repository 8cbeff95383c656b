package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/forecast"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/repository"
)

// Forecast is a forecast, for scripts and for people.
type Forecast struct {
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
	Runs     []ForecastRun     `json:"runs"`
	Rules    []RuleLooks       `json:"rules"`
	Apps     []ForecastBudget  `json:"apps"`
	Warnings []ForecastWarning `json:"warnings"`
	Paused   []ForecastPaused  `json:"paused_apps"`

	rates map[string]float64
}

// ForecastRun is a night, or an hour.
type ForecastRun struct {
	Start time.Time `json:"start"`
	// Due is what it finds due, of which Left is still due when its window is
	// over.
	Due     int64               `json:"due"`
	Left    int64               `json:"left"`
	Seconds float64             `json:"seconds"`
	Fits    bool                `json:"fits"`
	Rules   []RuleLooks         `json:"rules"`
	Apps    []ForecastRunBudget `json:"apps"`
}

// RuleLooks is how often Apple is asked by a rule.
type RuleLooks struct {
	Rule  iap.Rule `json:"rule"`
	Looks int64    `json:"checks"`
}

// ForecastRunBudget is an app in an environment in one run.
type ForecastRunBudget struct {
	BundleID    string          `json:"bundle_id"`
	Environment iap.Environment `json:"environment"`
	Due         int64           `json:"due"`
	Left        int64           `json:"left"`
	Seconds     float64         `json:"seconds"`
	Rules       []RuleLooks     `json:"rules"`
}

// ForecastBudget is an app in an environment over all runs.
type ForecastBudget struct {
	BundleID       string          `json:"bundle_id"`
	Environment    iap.Environment `json:"environment"`
	RatePerSecond  float64         `json:"rate_per_second"`
	Looks          int64           `json:"checks"`
	LongestSeconds float64         `json:"longest_seconds"`
}

// ForecastWarning is an app that some run is too short for.
type ForecastWarning struct {
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
	Fix          string   `json:"fix"`
}

// ForecastPaused is a paused app, and how many of its receipts have their next
// look in this time.
type ForecastPaused struct {
	BundleID string  `json:"bundle_id"`
	Code     *string `json:"paused_code"`
	Text     *string `json:"paused_text"`
	Receipts int64   `json:"receipts"`
}

// sampleSize is how many receipts are looked at one by one, about. It bounds memory
// and time; the help of the command names it.
const sampleSize = 20_000

// ForecastStore has what is planned.
type ForecastStore interface {
	appStore
	Planned(ctx context.Context, slots []time.Time) ([]repository.PlannedGroup, error)
	PlannedSample(ctx context.Context, until time.Time, oneIn map[string]int64, each func(repository.PlannedReceipt)) error
}

// ForecastConfig is what a forecast is about.
type ForecastConfig struct {
	// Slots are the runs, in order, and Days how far they reach.
	Slots []forecast.Slot
	Days  int
	// Hourly is whether there is a run each hour instead of those of the schedule.
	Hourly bool
	Zone   *time.Location
	// Policy is the one for all apps.
	Policy iap.Policy
}

// ReadForecast reads what is planned and projects it from a time on.
func ReadForecast(ctx context.Context, store ForecastStore, c ForecastConfig, now time.Time) (*Forecast, error) {
	starts := make([]time.Time, len(c.Slots))
	for i, slot := range c.Slots {
		starts[i] = slot.Start
	}
	allApps, err := store.Apps(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := store.Planned(ctx, starts)
	if err != nil {
		return nil, err
	}
	r := newForecast(c, now, allApps)
	working := r.withoutPaused(groups)
	oneIn := forecast.OneIn(working, sampleSize)
	var sample []forecast.Receipt
	if err := store.PlannedSample(ctx, starts[len(starts)-1], oneIn, func(p repository.PlannedReceipt) {
		sample = append(sample, projected(p))
	}); err != nil {
		return nil, err
	}
	policies := apps.Policies(allApps, c.Policy)
	cfg := forecast.Config{Slots: c.Slots, Rates: r.rates, Plan: func(bundleID string, c iap.Conclusion, now time.Time, id int64) iap.Check {
		return policies(bundleID).Plan(c, now, id)
	}}
	receipts := forecast.Weigh(working, sample, c.Slots)
	runs := forecast.Project(cfg, receipts)
	r.fill(receipts, runs, forecast.Shortages(cfg, receipts, runs))
	r.Sampled = sampled(oneIn, len(sample))
	return r, nil
}

// sampled is how many receipts stand for all, nil where each was looked at.
func sampled(oneIn map[string]int64, n int) *int {
	for _, part := range oneIn {
		if part > 1 {
			return &n
		}
	}
	return nil
}

// projected is a receipt as it is projected. Of one that Apple has not answered
// well yet, or is to confirm something final of, nothing is known.
func projected(p repository.PlannedReceipt) forecast.Receipt {
	r := forecast.Receipt{
		ID: p.ID, Budget: forecast.Budget{BundleID: p.BundleID, Environment: p.Environment},
		DueAt: p.NextCheckAt, Rule: p.Rule,
	}
	if p.State == iap.ReceiptValid && p.Rule != iap.RuleConfirm {
		r.Known = &p.Shows
	}
	return r
}

func newForecast(c ForecastConfig, now time.Time, apps []apps.App) *Forecast {
	r := &Forecast{
		At: now.UTC(), Every: "night", Days: c.Days, TimeZone: c.Zone.String(),
		rates: make(map[string]float64), Paused: []ForecastPaused{},
	}
	if c.Hourly {
		r.Every = "hour"
	}
	for _, a := range apps {
		r.rates[a.BundleID] = a.RatePerSecond
		if a.PausedAt != nil {
			r.Paused = append(r.Paused, ForecastPaused{BundleID: a.BundleID, Code: a.PausedCode, Text: a.PausedText})
		}
	}
	return r
}

// withoutPaused is what is planned of the enabled apps.
func (r *Forecast) withoutPaused(groups []repository.PlannedGroup) []forecast.Group {
	paused := make(map[string]*ForecastPaused, len(r.Paused))
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
func (r *Forecast) fill(receipts []forecast.Receipt, runs []forecast.Run, shortages []forecast.Shortage) {
	var once float64
	for _, receipt := range receipts {
		if receipt.Known == nil {
			once += receipt.Weight
		}
	}
	r.CountedOnce = whole(once)
	looks := make(map[iap.Rule]float64)
	apps := make(map[forecast.Budget]*ForecastBudget)
	for _, run := range runs {
		r.WindowSeconds = run.Until.Sub(run.Start).Seconds()
		r.Runs = append(r.Runs, newForecastRun(run))
		for _, budget := range run.Budgets() {
			a, ok := apps[budget]
			if !ok {
				a = &ForecastBudget{BundleID: budget.BundleID, Environment: budget.Environment, RatePerSecond: r.rates[budget.BundleID]}
				apps[budget] = a
			}
			load := run.Loads[budget]
			a.Looks += whole(sumLooks(load))
			a.LongestSeconds = max(a.LongestSeconds, seconds(load.Lasts))
			add(looks, load.Looks)
		}
	}
	r.Rules = sortedRules(looks)
	r.Apps = []ForecastBudget{}
	for _, a := range apps {
		r.Apps = append(r.Apps, *a)
	}
	slices.SortFunc(r.Apps, func(a, b ForecastBudget) int {
		return cmp.Or(cmp.Compare(b.LongestSeconds, a.LongestSeconds), cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.Environment, b.Environment))
	})
	r.Warnings = []ForecastWarning{}
	for _, s := range shortages {
		r.Warnings = append(r.Warnings, newForecastWarning(s))
	}
}

func newForecastRun(run forecast.Run) ForecastRun {
	looks := make(map[iap.Rule]float64)
	f := ForecastRun{Start: run.Start, Apps: []ForecastRunBudget{}}
	for _, budget := range run.Budgets() {
		load := run.Loads[budget]
		add(looks, load.Looks)
		b := ForecastRunBudget{
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
func sortedRules(looks map[iap.Rule]float64) []RuleLooks {
	rules := []RuleLooks{}
	for _, rule := range slices.Sorted(maps.Keys(looks)) {
		rules = append(rules, RuleLooks{rule, whole(looks[rule])})
	}
	slices.SortStableFunc(rules, func(a, b RuleLooks) int { return cmp.Compare(b.Looks, a.Looks) })
	return rules
}

func whole(n float64) int64 { return int64(math.Round(n)) }

// seconds are as exact as a forecast can be said to be.
func seconds(d time.Duration) float64 { return d.Round(100 * time.Millisecond).Seconds() }

// newForecastWarning is a shortage with what to do about it.
func newForecastWarning(s forecast.Shortage) ForecastWarning {
	w := ForecastWarning{
		BundleID: s.Budget.BundleID, Environment: s.Budget.Environment,
		Runs: s.Runs, First: s.First.Start, Worst: s.Worst.Start, Left: whole(s.Left),
		RatePerSecond: s.Rate, RateNeeded: s.RateNeeded,
	}
	if !s.CaughtUp.IsZero() {
		w.CaughtUp = &s.CaughtUp
	}
	if s.WindowNeeded > 0 {
		needed := s.WindowNeeded.Seconds()
		w.WindowNeeded = &needed
	}
	w.Fix = w.fixText()
	return w
}

// fixText says what happens, and what would be enough.
func (w ForecastWarning) fixText() string {
	text := fmt.Sprintf("At %g/s the run of %s leaves %s to the next", w.RatePerSecond, phrase.Time(w.Worst), phrase.Plural(w.Left, "receipt"))
	if w.CaughtUp != nil {
		text += fmt.Sprintf("; nothing is left over from %s on.", phrase.Time(*w.CaughtUp))
	} else {
		text += ", and that is not caught up in this time."
	}
	text += fmt.Sprintf(" With %g/s all fits: 'revalidator apps set %s --rate %g' (Apple publishes no limit: raise it with care).",
		w.RateNeeded, w.BundleID, w.RateNeeded)
	if w.WindowNeeded != nil {
		text += fmt.Sprintf(" Or with REVALIDATOR_RUN_WINDOW=%s.", windowText(*w.WindowNeeded))
	}
	return text
}

// windowText is a time span as a setting wants it.
func windowText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}
