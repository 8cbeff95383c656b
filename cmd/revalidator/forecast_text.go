package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"revalidator/internal/forecast"
)

// text is the forecast for people: a line for each run with a bar, then what
// they are about, then what is wrong with them.
func (r *forecastReport) text(out io.Writer, o printer) error {
	if len(r.Apps) == 0 {
		fmt.Fprintf(out, "No receipt of an app at work falls due within %d days.\n", r.Days)
	} else {
		r.chart(out, o)
		if err := r.tables(out); err != nil {
			return err
		}
	}
	for i, p := range r.Paused {
		if i == 0 {
			fmt.Fprintln(out, "\nPaused, and not in the figures:")
		}
		fmt.Fprintf(out, "  %s: %s in this time\n", p.BundleID, plural(p.Receipts, "receipt"))
	}
	var remarks []string
	if r.CountedOnce > 0 {
		remarks = append(remarks, fmt.Sprintf("%s without a useful answer of Apple's yet: counted once.", plural(r.CountedOnce, "receipt")))
	}
	if r.Sampled != nil {
		remarks = append(remarks, fmt.Sprintf("Of %s with a look in this time, repeated looks are projected from a sample of %s.",
			plural(r.Receipts, "receipt"), count(int64(*r.Sampled))))
	}
	if len(remarks) > 0 {
		fmt.Fprintf(out, "\n%s", indented(strings.Fields(strings.Join(remarks, " ")), 0, 80))
	}
	r.warn(out, o)
	return nil
}

// The chart is 80 columns wide. Its bars are plain text, so that a pipe and a
// terminal without colors show the same.
const (
	barFits = "#"
	barLeft = "!"
)

func (r *forecastReport) chart(out io.Writer, o printer) {
	head := fmt.Sprintf("%-15s  %9s  %7s", strings.ToUpper(r.Every)+" (UTC)", "DUE", "LASTS")
	left := r.anyLeft()
	if left {
		head += fmt.Sprintf("  %9s", "LEFT OVER")
	}
	width := 80 - len(head) - 2
	fmt.Fprintln(out, head)
	most := int64(1)
	for _, run := range r.Runs {
		most = max(most, run.Due)
	}
	for _, run := range r.Runs {
		line := fmt.Sprintf("%-15s  %9s  %7s", run.Start.Format("Mon 01-02 15:04"), count(run.Due), duration(math.Round(run.Seconds)))
		if left {
			line += fmt.Sprintf("  %9s", blankZero(run.Left))
		}
		line += "  " + strings.Repeat(barFits, barLength(run.Due-run.Left, most, width))
		over := barLength(run.Due, most, width) - barLength(run.Due-run.Left, most, width)
		if run.Left > 0 {
			line += o.paint(red, strings.Repeat(barLeft, max(over, 1)))
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	if left {
		fmt.Fprintf(out, "%s is what is left over when the window of %s ends.\n", barLeft, duration(r.WindowSeconds))
	}
}

// barLength is how long the bar of a number is; the longest fills the width.
func barLength(n, most int64, width int) int {
	if n == 0 {
		return 0
	}
	return max(1, int(n*int64(width)/most))
}

func (r *forecastReport) anyLeft() bool {
	for _, run := range r.Runs {
		if run.Left > 0 {
			return true
		}
	}
	return false
}

func blankZero(n int64) string {
	if n == 0 {
		return ""
	}
	return count(n)
}

func (r *forecastReport) tables(out io.Writer) error {
	var looks int64
	for _, rule := range r.Rules {
		looks += rule.Looks
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nBY RULE\t%9s\t%9s\t%5s\n", "LOOKS", "PER "+strings.ToUpper(r.Every), "SHARE")
	for _, rule := range r.Rules {
		fmt.Fprintf(table, "%s\t%9s\t%9s\t%4.0f%%\n", words(string(rule.Rule)), count(rule.Looks),
			count(rule.Looks/int64(len(r.Runs))), 100*float64(rule.Looks)/float64(max(looks, 1)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nBY APP\tENVIRONMENT\t%9s\t%6s\t%7s\n", "LOOKS", "RATE", "LONGEST")
	for _, a := range r.Apps[:min(len(r.Apps), mostLines)] {
		fmt.Fprintf(table, "%s\t%s\t%9s\t%6s\t%7s\n", a.BundleID, a.Environment, count(a.Looks),
			strconv.FormatFloat(a.RatePerSecond, 'g', 4, 64)+"/s", duration(math.Round(a.LongestSeconds)))
	}
	if more := len(r.Apps) - mostLines; more > 0 {
		fmt.Fprintf(table, "and %d more\n", more)
	}
	return table.Flush()
}

// warn tells of the runs that are too short, or that there are none.
func (r *forecastReport) warn(out io.Writer, o printer) {
	if len(r.Apps) == 0 {
		return
	}
	if len(r.Warnings) == 0 {
		fmt.Fprintf(out, "\nEvery %s fits its window of %s.\n", r.Every, duration(r.WindowSeconds))
		return
	}
	for i, w := range r.Warnings {
		if i == mostLines {
			fmt.Fprintf(out, "\nand %d more that are too slow\n", len(r.Warnings)-mostLines)
			return
		}
		fmt.Fprintf(out, "\n%s\n%s", o.paint(yellow, w.headline(r.Every)), indented(strings.Fields(w.Mend), 2, 80))
	}
}

// headline says of which app how many runs are too short.
func (w forecastWarning) headline(every string) string {
	verb := "does"
	if w.Runs > 1 {
		verb = "do"
	}
	return fmt.Sprintf("%s (%s): %s %s not fit the window.", w.BundleID, w.Environment, plural(int64(w.Runs), every), verb)
}

// plural is a number of things.
func plural(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return count(n) + " " + thing
}

// newForecastWarning is a shortage with what to do about it.
func newForecastWarning(s forecast.Shortage) forecastWarning {
	w := forecastWarning{
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
	w.Mend = w.mend()
	return w
}

// mend says what happens, and what would be enough.
func (w forecastWarning) mend() string {
	text := fmt.Sprintf("At %g/s the run of %s leaves %s to the next", w.RatePerSecond, when(w.Worst), plural(w.Left, "receipt"))
	if w.CaughtUp != nil {
		text += fmt.Sprintf("; nothing is left over from %s on.", when(*w.CaughtUp))
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
