package main

import (
	"fmt"
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
	fmt.Fprintf(&text, "%s run %d %s %s %s\n", r.Kind, r.ID, r.State, verb, duration(r.ElapsedSeconds))
	if r.Progress != nil {
		fmt.Fprintf(&text, "%s\n", progressText(r.runLine, o))
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n int64, what string) { fmt.Fprintf(table, "  %d\t %s\n", n, what) }
	if r.Kind == ledger.RunBackfill {
		row(r.Due, "receipts were chosen")
	} else {
		row(r.Due, "receipts were due")
	}
	row(r.Done, "done")
	if elsewhere := r.Due - r.Done; r.Kind == ledger.RunBackfill && r.State == ledger.RunFinished && elsewhere > 0 {
		row(elsewhere, "checked by other runs meanwhile")
	}
	row(r.Changed, "changed")
	row(r.Failed, "failed")
	if r.Quarantined > 0 {
		row(r.Quarantined, "of these quarantined")
	}
	row(r.Calls, "calls to Apple")
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
	fmt.Fprintf(table, "  BUNDLE ID\t%7s\t%7s\t%7s\t%7s\n", "DUE", "DONE", "CHANGED", "FAILED")
	for _, a := range apps {
		paused := ""
		if a.PausedCode != nil {
			paused = "\tpaused"
		}
		fmt.Fprintf(table, "  %s\t%7s\t%7s\t%7s\t%7s%s\n", short(a.BundleID, 28), count(a.Due), count(a.Done), count(a.Changed), count(a.Failed), paused)
	}
	_ = table.Flush()
}

// progressText says how far a run is, and whether anybody feeds it.
func progressText(r runLine, o printer) string {
	pace := fmt.Sprintf("%.1f/s on average", r.Progress.AveragePerSecond)
	if r.Progress.PerSecond != nil {
		pace = fmt.Sprintf("%.1f/s now, %s", *r.Progress.PerSecond, pace)
	}
	text := fmt.Sprintf("%s of %s done, %s", count(r.Done), count(r.Due), pace)
	if left := r.Progress.SecondsLeft; left != nil {
		text += ", " + duration(*left) + " left"
	}
	if !r.Fed {
		text += "\n" + o.paint(yellow, "nobody feeds it: start 'revalidator scheduler', which takes it over")
	}
	return text
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
