package main

import (
	"fmt"
	"strconv"
	"strings"

	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// runText describes a run as a person would want to read it.
func runText(out *terminal.Page, r *report.Run) {
	verb := "in"
	if r.Progress != nil {
		verb = "for"
	}
	out.Printf("%s run %d %s %s %s\n", r.Kind, r.ID, phrase.Words(string(r.State)), verb, phrase.Duration(r.ElapsedSeconds))
	if r.StartedBy != "" {
		out.Sentence("started by %s", r.StartedBy)
	}
	if r.Kind == runs.Backfill {
		out.Print(terminal.Wrap(0, strings.Fields("chosen by: "+report.NewBackfill(r.Totals, r.StartedAt).FilterText())...))
	}
	if r.Progress != nil {
		progressText(r.RunLine, out)
	}
	table := out.Figures()
	row := func(n, what string) { table.Row("  %s\t %s", n, what) }
	if r.Kind == runs.Backfill {
		row(phrase.CountIf(r.Due), "chosen, of which")
	} else {
		row(phrase.CountIf(r.Due), "due, of which")
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	row(number(r.Succeeded), "succeeded")
	row(number(r.Failed), "failed")
	row(number(r.Released), "released unchecked")
	row(phrase.CountIf(r.InRun), "still in the run")
	row(number(r.Changed), "changed")
	if r.Quarantined > 0 {
		row(number(r.Quarantined), "of those that failed quarantined")
	}
	row(number(r.Calls), "calls to Apple")
	table.End()
	if r.Succeeded > 0 && r.Changed == 0 {
		out.Sentence("Nothing changed: what a first check finds of older purchases is stored, and is no change.")
	}
	runAppsText(out, r.Apps)
	section(out, "What changed", len(r.Events), func(i int) (int64, string) {
		return r.Events[i].Count, phrase.Words(string(r.Events[i].Type))
	})
	section(out, "Failed responses", len(r.Failures), func(i int) (int64, string) {
		return r.Failures[i].Responses, phrase.Words(r.Failures[i].Class)
	})
}

// section adds a heading and counted lines, and nothing where there are none.
func section(out *terminal.Page, heading string, n int, line func(i int) (int64, string)) {
	if n == 0 {
		return
	}
	out.Printf("%s:\n", heading)
	table := out.Figures()
	for i := range n {
		count, what := line(i)
		table.Row("  %d\t %s", count, what)
	}
	table.End()
}

// runAppsText is a table of the apps of a run, where they are several.
func runAppsText(out *terminal.Page, apps []repository.RunApp) {
	if len(apps) < 2 {
		return
	}
	out.Print("By app:\n")
	table := out.Table().Cut(0).Spare(4, 1)
	table.Row("  BUNDLE ID\t%8s\t%9s\t%6s\t%8s\t%8s", "DUE", "SUCCEEDED", "FAILED", "RELEASED", "IN RUN")
	for _, a := range apps {
		paused := ""
		if a.PausedCode != nil {
			paused = "paused"
		}
		table.Row("  %s\t%8s\t%9s\t%6s\t%8s\t%8s\t%s", a.BundleID, phrase.CountIf(a.Due), phrase.Count(a.Succeeded),
			phrase.Count(a.Failed), phrase.Count(a.Released), phrase.CountIf(a.InRun), paused)
	}
	table.End()
}

// progressText says how far a run is, and whether anybody feeds it.
func progressText(r report.RunLine, out *terminal.Page) {
	out.Sentence("%s", paceText(r))
	if waiting := report.WaitingText(r.Progress.Waiting); waiting != "" {
		out.Sentence("%s", waiting)
	}
	if !r.Fed {
		out.Sentence("%s", out.Paint(terminal.Yellow, fmt.Sprintf("no process feeds it: a scheduler takes it over, or 'revalidator run resume %d'", r.ID)))
	}
}

// paceText says how far a run is, how fast it is, and how long that takes.
func paceText(r report.RunLine) string {
	pace := fmt.Sprintf("%.1f/s on average", r.Progress.AveragePerSecond)
	if r.Progress.PerSecond != nil {
		pace = fmt.Sprintf("%.1f/s now, %s", *r.Progress.PerSecond, pace)
	}
	text := fmt.Sprintf("%s of %s done, %s", phrase.Count(r.Done), phrase.CountIf(r.Due), pace)
	if left := r.Progress.SecondsLeft; left != nil {
		text += ", " + phrase.Duration(*left) + " left"
	}
	return text
}

// equationText says where the receipts of a run are, in the terms of docs/runs.md.
func equationText(t runs.Totals) string {
	return fmt.Sprintf("%s due = %s succeeded + %s failed + %s released + %s in the run", phrase.CountIf(t.Due), phrase.Count(t.Succeeded),
		phrase.Count(t.Failed), phrase.Count(t.Released), phrase.CountIf(t.InRun))
}
