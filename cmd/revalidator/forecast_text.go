package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

// forecastText is the forecast for people: a line for each run with a bar, then what
// they are about, then what is wrong with them.
func forecastText(out *terminal.Page, r *report.Forecast) {
	if len(r.Apps) == 0 {
		out.Printf("No receipt of an enabled app becomes due within %d days.\n", r.Days)
	} else {
		forecastChart(out, r)
		forecastTables(out, r)
	}
	for i, p := range r.Paused {
		if i == 0 {
			out.Print("\nPaused, and not in the figures:\n")
		}
		out.Printf("  %s: %s in this time\n", p.BundleID, phrase.Plural(p.Receipts, "receipt"))
	}
	var remarks []string
	if r.CountedOnce > 0 {
		remarks = append(remarks, fmt.Sprintf("%s without a usable reply from Apple yet: counted once.", phrase.Plural(r.CountedOnce, "receipt")))
	}
	if r.Sampled != nil {
		remarks = append(remarks, fmt.Sprintf("Of %s with a check in this time, repeated checks are projected from a sample of %s.",
			phrase.Plural(r.Receipts, "receipt"), phrase.Count(int64(*r.Sampled))))
	}
	if len(remarks) > 0 {
		out.Printf("\n%s", terminal.Wrap(0, strings.Fields(strings.Join(remarks, " "))...))
	}
	forecastWarn(out, r)
}

// The chart is 80 columns wide. Its bars are plain text, so that a pipe and a
// terminal without colors show the same.
const (
	barFits = "#"
	barLeft = "!"
)

func forecastChart(out *terminal.Page, r *report.Forecast) {
	head := fmt.Sprintf("%-15s  %9s  %7s", strings.ToUpper(r.Every)+" (UTC)", "DUE", "LASTS")
	left := forecastAnyLeft(r)
	if left {
		head += fmt.Sprintf("  %9s", "LEFT OVER")
	}
	width := 80 - len(head) - 2
	out.Print(head + "\n")
	most := int64(1)
	for _, run := range r.Runs {
		most = max(most, run.Due)
	}
	for _, run := range r.Runs {
		line := fmt.Sprintf("%-15s  %9s  %7s", run.Start.Format("Mon 01-02 15:04"), phrase.Count(run.Due), phrase.Duration(math.Round(run.Seconds)))
		if left {
			line += fmt.Sprintf("  %9s", blankZero(run.Left))
		}
		line += "  " + strings.Repeat(barFits, barLength(run.Due-run.Left, most, width))
		over := barLength(run.Due, most, width) - barLength(run.Due-run.Left, most, width)
		if run.Left > 0 {
			line += out.Paint(terminal.Red, strings.Repeat(barLeft, max(over, 1)))
		}
		out.Print(strings.TrimRight(line, " ") + "\n")
	}
	if left {
		out.Printf("%s is what is left over when the window of %s ends.\n", barLeft, phrase.Duration(r.WindowSeconds))
	}
}

// barLength is how long the bar of a number is; the longest fills the width.
func barLength(n, most int64, width int) int {
	if n == 0 {
		return 0
	}
	return max(1, int(n*int64(width)/most))
}

func forecastAnyLeft(r *report.Forecast) bool {
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
	return phrase.Count(n)
}

func forecastTables(out *terminal.Page, r *report.Forecast) {
	var looks int64
	for _, rule := range r.Rules {
		looks += rule.Looks
	}
	table := out.Table()
	table.Row("\nBY RULE\t%9s\t%9s\t%5s", "LOOKS", "PER "+strings.ToUpper(r.Every), "SHARE")
	for _, rule := range r.Rules {
		table.Row("%s\t%9s\t%9s\t%4.0f%%", phrase.Words(string(rule.Rule)), phrase.Count(rule.Looks),
			phrase.Count(rule.Looks/int64(len(r.Runs))), 100*float64(rule.Looks)/float64(max(looks, 1)))
	}
	table.End()
	table = out.Table()
	table.Row("\nBY APP\tENVIRONMENT\t%9s\t%6s\t%7s", "LOOKS", "RATE", "LONGEST")
	for _, a := range r.Apps[:min(len(r.Apps), phrase.Most)] {
		table.Row("%s\t%s\t%9s\t%6s\t%7s", a.BundleID, a.Environment, phrase.Count(a.Looks),
			strconv.FormatFloat(a.RatePerSecond, 'g', 4, 64)+"/s", phrase.Duration(math.Round(a.LongestSeconds)))
	}
	if more := len(r.Apps) - phrase.Most; more > 0 {
		table.Row("and %d more", more)
	}
	table.End()
}

// forecastWarn tells of the runs that are too short, or that there are none.
func forecastWarn(out *terminal.Page, r *report.Forecast) {
	if len(r.Apps) == 0 {
		return
	}
	if len(r.Warnings) == 0 {
		out.Printf("\nEvery %s fits its window of %s.\n", r.Every, phrase.Duration(r.WindowSeconds))
		return
	}
	for i, w := range r.Warnings {
		if i == phrase.Most {
			out.Printf("\nand %d more that are too slow\n", len(r.Warnings)-phrase.Most)
			return
		}
		out.Printf("\n%s\n%s", out.Paint(terminal.Yellow, forecastHeadline(w, r.Every)), terminal.Wrap(2, strings.Fields(w.Fix)...))
	}
}

// forecastHeadline says of which app how many runs are too short.
func forecastHeadline(w report.ForecastWarning, every string) string {
	verb := "does"
	if w.Runs > 1 {
		verb = "do"
	}
	return fmt.Sprintf("%s (%s): %s %s not fit the window.", w.BundleID, w.Environment, phrase.Plural(int64(w.Runs), every), verb)
}
