// Package forecast projects how much work the coming runs will have: which
// receipts fall due for each, those included that a run before has looked at,
// and how long each run takes at the configured rates. It is pure; what is
// stored, and how a forecast is shown, it leaves to others.
//
// A projection is what follows from the stored state if nothing new happens:
// what renews goes on renewing, what does not lapses, a failed payment stays
// failed until Apple gives up, every response is usable, and nobody comes. So it
// knows nothing of growth, outages and a rate that Apple makes slower.
package forecast

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"revalidator/internal/iap"
)

// Budget names what a rate is kept for: an app in an environment.
type Budget struct {
	BundleID    string
	Environment iap.Environment
}

func (b Budget) compare(other Budget) int {
	return cmp.Or(cmp.Compare(b.BundleID, other.BundleID), cmp.Compare(b.Environment, other.Environment))
}

// Receipt is a receipt with its next check.
type Receipt struct {
	ID     int64
	Budget Budget
	DueAt  time.Time
	Rule   iap.Rule
	// Weight is how many receipts it stands for: 1 but in a sample.
	Weight float64
	// Known is what it shows, nil where that is not known: then nothing can be
	// said about the time after its next check.
	Known *iap.Conclusion
}

// Slot is when a run starts, which is what must be due by then to belong to it,
// and when it ends at the latest.
type Slot struct{ Start, Until time.Time }

// Plan is the policy: the next check of a receipt of an app that shows c. A zero
// time means never.
type Plan func(bundleID string, c iap.Conclusion, now time.Time, id int64) iap.Check

// Config says what is projected.
type Config struct {
	// Slots are in the order of their starts. Their windows may overlap: the
	// work of the later one then waits for that of the earlier.
	Slots []Slot
	// Rates are the calls per second of each app, in each environment.
	Rates map[string]float64
	Plan  Plan
}

// Run is a slot with its work by budget. A budget that has none is left out.
type Run struct {
	Slot
	Loads map[Budget]Load
}

// Load is the work of a budget in a run, in receipts.
type Load struct {
	// New fell due since the slot before.
	New float64
	// Checks are made within the window, by the rule that wanted it.
	Checks map[iap.Rule]float64
	// Left is what the window is too short for; it is due in the next run.
	Left float64
	// Lasts is from the start of the slot until the last check.
	Lasts time.Duration
}

// Project plays the runs of the slots through, each budget for itself.
func Project(cfg Config, receipts []Receipt) []Run {
	runs := make([]Run, len(cfg.Slots))
	for i, s := range cfg.Slots {
		runs[i] = Run{s, make(map[Budget]Load)}
	}
	lines := make(map[Budget]*line)
	for _, r := range receipts {
		l, ok := lines[r.Budget]
		if !ok {
			l = &line{plan: cfg.Plan, rate: cfg.Rates[r.Budget.BundleID]}
			lines[r.Budget] = l
		}
		l.future = append(l.future, r)
	}
	for budget, l := range lines {
		l.start(cfg.Slots)
		for i, s := range cfg.Slots {
			if load := l.run(s); load.Left > 0 || len(load.Checks) > 0 {
				runs[i].Loads[budget] = load
			}
		}
	}
	return runs
}

// Budgets lists the budgets of a run in order.
func (r Run) Budgets() []Budget {
	return slices.SortedFunc(maps.Keys(r.Loads), Budget.compare)
}
