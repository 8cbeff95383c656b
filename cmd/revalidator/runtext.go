package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"revalidator/internal/ledger"
	"revalidator/repository"
)

// runText tells of a run as a person would want to read it.
func runText(r runReport, o printer) string {
	var text strings.Builder
	verb := "in"
	if r.Progress != nil {
		verb = "for"
	}
	fmt.Fprintf(&text, "%s run %d %s %s %s\n", r.Kind, r.ID, words(string(r.State)), verb, duration(r.ElapsedSeconds))
	if r.StartedBy != "" {
		fmt.Fprintf(&text, "started by %s\n", r.StartedBy)
	}
	if r.Progress != nil {
		fmt.Fprintf(&text, "%s\n", progressText(r.runLine, o))
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n, what string) { fmt.Fprintf(table, "  %s\t %s\n", n, what) }
	if r.Kind == ledger.RunBackfill {
		row(dueCount(r.Due), "receipts were chosen, of which")
	} else {
		row(dueCount(r.Due), "receipts were due, of which")
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	row(number(r.Succeeded), "succeeded")
	row(number(r.Failed), "failed")
	row(number(r.Released), "released unchecked")
	row(dueCount(r.InRun), "still in the run")
	row(number(r.Changed), "changed")
	if r.Quarantined > 0 {
		row(number(r.Quarantined), "of those that failed quarantined")
	}
	row(number(r.Calls), "calls to Apple")
	_ = table.Flush()
	runAppsText(&text, r.Apps)
	section(&text, "What changed", len(r.Events), func(i int) (int64, string) {
		return r.Events[i].Count, words(string(r.Events[i].Type))
	})
	section(&text, "Answers that were no use", len(r.Failures), func(i int) (int64, string) {
		return r.Failures[i].Answers, words(r.Failures[i].Class)
	})
	return text.String()
}

// section adds a heading and counted lines, and nothing where there are none.
func section(text *strings.Builder, heading string, n int, line func(i int) (int64, string)) {
	if n == 0 {
		return
	}
	fmt.Fprintf(text, "%s:\n", heading)
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range n {
		count, what := line(i)
		fmt.Fprintf(table, "  %d\t %s\n", count, what)
	}
	_ = table.Flush()
}

// runAppsText is a table of the apps of a run, where they are several.
func runAppsText(text *strings.Builder, apps []repository.RunApp) {
	if len(apps) < 2 {
		return
	}
	text.WriteString("By app:\n")
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  BUNDLE ID\t%8s\t%9s\t%6s\t%8s\t%8s\n", "DUE", "SUCCEEDED", "FAILED", "RELEASED", "IN RUN")
	for _, a := range apps {
		paused := ""
		if a.PausedCode != nil {
			paused = "\tpaused"
		}
		fmt.Fprintf(table, "  %s\t%8s\t%9s\t%6s\t%8s\t%8s%s\n", short(a.BundleID, 20), dueCount(a.Due), count(a.Succeeded),
			count(a.Failed), count(a.Released), dueCount(a.InRun), paused)
	}
	_ = table.Flush()
}

// progressText says how far a run is, and whether anybody feeds it.
func progressText(r runLine, o printer) string {
	pace := fmt.Sprintf("%.1f/s on average", r.Progress.AveragePerSecond)
	if r.Progress.PerSecond != nil {
		pace = fmt.Sprintf("%.1f/s now, %s", *r.Progress.PerSecond, pace)
	}
	text := fmt.Sprintf("%s of %s done, %s", count(r.Done), dueCount(r.Due), pace)
	if left := r.Progress.SecondsLeft; left != nil {
		text += ", " + duration(*left) + " left"
	}
	if !r.Fed {
		text += "\n" + o.paint(yellow, fmt.Sprintf("no process feeds it: a scheduler takes it over, or 'revalidator run resume %d'", r.ID))
	}
	return text
}

// equationText says where the receipts of a run are, in the terms of docs/runs.md.
func equationText(t ledger.RunTotals) string {
	return fmt.Sprintf("%s due = %s succeeded + %s failed + %s released + %s in the run", dueCount(t.Due), count(t.Succeeded),
		count(t.Failed), count(t.Released), dueCount(t.InRun))
}

// dueCount is count for a number that is not known until it has been counted.
func dueCount(n *int64) string {
	if n == nil {
		return "counting"
	}
	return count(*n)
}

// count is a number for a person: all its digits up to a million, three of them
// beyond.
func count(n int64) string {
	if n < 1_000_000 {
		return humanize.Comma(n)
	}
	value, unit := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.3g%s", value, unit)
}

// duration is a time span for a person: tenths of a second within a minute,
// then seconds, then minutes.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return d.Round(time.Second / 10).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// elapsed is how long a run has taken until now, or took.
func elapsed(t ledger.RunTotals, now time.Time) time.Duration {
	if t.FinishedAt != nil {
		now = *t.FinishedAt
	}
	return now.Sub(t.StartedAt)
}

// words is a name of the program's, as a person would write it.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// days is a time span of days, which settings give in hours.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
