package forecast

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Shortage is a budget that is too small for some run.
type Shortage struct {
	Budget Budget
	// Runs is how many leave something; First is the first of them, and Worst
	// the one that leaves the most, which is Left.
	Runs         int
	First, Worst Run
	Left         float64
	// CaughtUp is the first run from which on nothing is left, zero where
	// something is left by the last.
	CaughtUp time.Time
	// Rate is what the budget has per second, and RateNeeded with what every
	// run would end within its window.
	Rate, RateNeeded float64
	// WindowNeeded is how long the runs would take at the rate that is; 0 where
	// that is longer than from one to the next.
	WindowNeeded time.Duration
}

// Shortages lists the budgets that are too small for some run, in order.
func Shortages(cfg Config, receipts []Receipt, runs []Run) []Shortage {
	found := make(map[Budget]*Shortage)
	for _, run := range runs {
		for budget, load := range run.Loads {
			if round(load.Left) > 0 {
				s, ok := found[budget]
				if !ok {
					s = &Shortage{Budget: budget, Rate: cfg.Rates[budget.BundleID], First: run}
					found[budget] = s
				}
				s.add(run, load)
			}
		}
	}
	shortages := make([]Shortage, 0, len(found))
	for _, budget := range slices.SortedFunc(maps.Keys(found), Budget.compare) {
		s := *found[budget]
		s.CaughtUp = caughtUp(runs, budget)
		s.cure(cfg, receipts)
		shortages = append(shortages, s)
	}
	return shortages
}

func (s *Shortage) add(run Run, load Load) {
	s.Runs++
	if load.Left > s.Left {
		s.Worst, s.Left = run, load.Left
	}
}

// caughtUp is the start of the first run from which on a budget leaves nothing.
func caughtUp(runs []Run, budget Budget) time.Time {
	var since time.Time
	for _, run := range slices.Backward(runs) {
		if round(run.Loads[budget].Left) > 0 {
			break
		}
		since = run.Start
	}
	return since
}

// cure finds out what would be enough, from what falls due where nothing is
// left: a run that leaves receipts also delays their next checks.
func (s *Shortage) cure(cfg Config, receipts []Receipt) {
	const boundless = 1e9
	cfg.Rates = map[string]float64{s.Budget.BundleID: boundless}
	own := slices.DeleteFunc(slices.Clone(receipts), func(r Receipt) bool { return r.Budget != s.Budget })
	gap := time.Duration(math.MaxInt64)
	for i, run := range Project(cfg, own) {
		due, room := run.Loads[s.Budget].New, run.Until.Sub(run.Start)
		if i+1 < len(cfg.Slots) {
			next := cfg.Slots[i+1].Start.Sub(run.Start)
			gap, room = min(gap, next), min(room, next)
		}
		s.RateNeeded = max(s.RateNeeded, due/room.Seconds())
		s.WindowNeeded = max(s.WindowNeeded, time.Duration(due/s.Rate*float64(time.Second)))
	}
	s.RateNeeded = roundUp(s.RateNeeded)
	if s.WindowNeeded = ceil(s.WindowNeeded); s.WindowNeeded > gap {
		s.WindowNeeded = 0
	}
}

// roundUp makes a rate a number of two digits that is no smaller.
func roundUp(rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	step := math.Pow(10, math.Floor(math.Log10(rate))-1)
	return math.Round(math.Ceil(rate/step)*step*1e6) / 1e6
}

// ceil makes a window whole hours, or minutes where it is less than one.
func ceil(d time.Duration) time.Duration {
	unit := time.Hour
	if d < unit {
		unit = time.Minute
	}
	return (d + unit - 1).Truncate(unit)
}

func round(receipts float64) int64 { return int64(math.Round(receipts)) }
