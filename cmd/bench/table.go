package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// row is one line of the table.
type row struct {
	// name is short and stays the same: by it runs and commits are compared.
	name, what string
	figure     figure
	// ours and baseline are what was measured, baseline empty where there is
	// nothing to compare with.
	ours, baseline string
	// ratio is what has a target, in words.
	ratio, target string
	met           bool
}

// figure is what a row says in numbers.
type figure struct {
	value float64 // of the program
	unit  string
	// ratio is that of value to the same of something that no change of the
	// program makes faster or slower; 0 where there is nothing of the kind.
	ratio float64
	// rank orders the runs of a row where that is not by ratio or value.
	rank float64
}

// The units of a figure, as Go's benchmarks and benchstat name them.
const (
	unitTime   = "ns/op"
	unitMemory = "peak-B"
	unitSpeed  = "receipts/s"
	unitShare  = "%"
)

// isMoreBetter says whether the larger of two figures is the better.
func isMoreBetter(unit string) bool { return unit == unitSpeed || unit == unitShare }

func (f figure) order() float64 { return cmp.Or(f.rank, f.ratio, f.value) }

// table has the rows of each run, in the order in which they were measured.
type table struct{ rows []row }

// add notes a row, and tells of it at once.
func (t *table) add(r row) {
	t.rows = append(t.rows, r)
	say("  %s: %s, baseline %s: %s (target %s)", r.what, r.ours, orDash(r.baseline), r.ratio, r.target)
}

// medians has one row for those of the same name: the one in the middle.
func (t *table) medians() *table {
	var names []string
	runs := make(map[string][]row)
	for _, r := range t.rows {
		if runs[r.name] == nil {
			names = append(names, r.name)
		}
		runs[r.name] = append(runs[r.name], r)
	}
	m := &table{}
	for _, name := range names {
		slices.SortFunc(runs[name], func(a, b row) int { return cmp.Compare(a.figure.order(), b.figure.order()) })
		m.rows = append(m.rows, runs[name][len(runs[name])/2])
	}
	return m
}

func (t *table) missed() (n int) {
	for _, r := range t.rows {
		if !r.met {
			n++
		}
	}
	return n
}

// print writes the table in Markdown, as docs/benchmarks.md has it.
func (t *table) print(out io.Writer) error {
	lines := []string{"| What | Measured | Baseline | Ratio | Target | |", "| --- | --- | --- | --- | --- | --- |"}
	for _, r := range t.rows {
		verdict := "met"
		if !r.met {
			verdict = "**missed**"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", r.what, r.ours, orDash(r.baseline), r.ratio, r.target, verdict))
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// times is a ratio in words.
func times(ratio float64) string { return fmt.Sprintf("%.2f×", ratio) }

func perSecond(n float64) string { return fmt.Sprintf("%.0f/s", n) }

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// cpu fills a row of what a receipt costs here and in the baseline.
func (r row) cpu(ours, base, unit time.Duration, limit float64) row {
	ratio := float64(ours) / float64(base)
	r.figure = figure{value: float64(ours), unit: unitTime, ratio: ratio}
	r.ours, r.baseline, r.ratio = ours.Round(unit).String(), base.Round(unit).String(), times(ratio)
	r.met = ratio <= limit
	return r
}

// memory fills a row of a peak of memory that has a limit of its own.
func (r row) memory(peak, limit int64) row {
	r.figure = figure{value: float64(peak), unit: unitMemory}
	r.ours, r.ratio, r.target = mib(peak), mib(peak), fmt.Sprintf("≤ %d MiB", limit>>20)
	r.met = peak <= limit
	return r
}

// speed fills a row of receipts a second that has a target of its own.
func (r row) speed(speed, least float64) row {
	r.figure = figure{value: speed, unit: unitSpeed}
	r.ours, r.ratio, r.target = perSecond(speed), perSecond(speed), "≥ "+humanize.Comma(int64(least))+"/s"
	r.met = speed >= least
	return r
}
