package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"revalidator/internal/apps"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// reviewText is the review for people.
func reviewText(out *terminal.Page, r *report.Review) {
	reviewHead(out, r)
	sections := []reviewSection{
		{"RECEIPTS", reviewTotalRows(r)},
		{"WHAT CHANGED", rowsOf(r.Events, func(e report.TypeFigure) (string, report.Figure) { return phrase.Words(string(e.Type)), e.Figure })},
		{"FAILED RESPONSES", rowsOf(r.Failures, func(f report.ClassFigure) (string, report.Figure) { return phrase.Words(f.Class), f.Figure })},
	}
	for _, section := range sections {
		writeSection(out, r, section, nameWidth(sections))
	}
	reviewProducts(out, r)
	reviewAppsTable(out, r)
	reviewUnfinished(out, r)
}

func reviewHead(out *terminal.Page, r *report.Review) {
	took := "took"
	if r.State == runs.Running {
		took = "has taken"
	}
	out.Printf("%s run %d of %s, %s: %s %s,\n%s to Apple, %s/s.\n", r.Kind, r.ID, phrase.Time(r.ScheduledFor), phrase.Words(string(r.State)), took,
		phrase.Duration(r.ElapsedSeconds), phrase.Plural(r.Calls, "call"), phrase.Decimal(r.CallsPerSecond))
	if r.StartedBy != "" {
		out.Printf("Started by %s.\n", r.StartedBy)
	}
	if r.Due == nil {
		out.Print("What is due is still being counted.\n")
	}
	if b := r.Before; b != nil {
		out.Printf("Compared with run %d of %s, which took %s at %s/s.\n", b.ID, phrase.Time(b.ScheduledFor),
			phrase.Duration(b.ElapsedSeconds), phrase.Decimal(b.CallsPerSecond))
		return
	}
	out.Printf("There is no finished %s run before it to compare with.\n", r.Kind)
}

// reviewRow is a line of the review.
type reviewRow struct {
	name string
	report.Figure
}

func reviewTotalRows(r *report.Review) []reviewRow {
	due := "due"
	if r.Kind == runs.Backfill {
		due = "chosen"
	}
	t := r.Compared
	rows := []reviewRow{
		{"succeeded", t.Succeeded}, {"failed", t.Failed}, {"released unchecked", t.Released}, {"changed", t.Changed}, {"calls to Apple", t.Calls},
	}
	if t.Due == nil {
		return rows
	}
	return slices.Concat([]reviewRow{{due, *t.Due}}, rows[:3], []reviewRow{{"still in the run", *t.InRun}}, rows[3:])
}

func rowsOf[T any](items []T, row func(T) (string, report.Figure)) []reviewRow {
	rows := make([]reviewRow, len(items))
	for i, item := range items {
		rows[i].name, rows[i].Figure = row(item)
	}
	return rows
}

// reviewSection is a heading with lines below it.
type reviewSection struct {
	heading string
	rows    []reviewRow
}

// nameWidth is how wide the longest name is, so that the figures of all
// sections stand below each other.
func nameWidth(sections []reviewSection) int {
	width := 0
	for _, s := range sections {
		if len(s.rows) > 0 {
			width = max(width, len(s.heading))
		}
		for _, row := range s.rows {
			width = max(width, len(row.name))
		}
	}
	return width
}

// writeSection prints a heading and its lines, and nothing where there are none.
func writeSection(out *terminal.Page, r *report.Review, s reviewSection, width int) {
	if len(s.rows) == 0 {
		return
	}
	out.Printf("\n%-*s  %9s", width, s.heading, runColumn(r.ID))
	if r.Before != nil {
		out.Printf("  %9s  %10s", runColumn(r.Before.ID), "DIFFERENCE")
	}
	out.Print("\n")
	for _, row := range s.rows {
		out.Printf("%-*s  %9s", width, row.name, phrase.Count(row.Count))
		if row.Difference != nil {
			out.Printf("  %9s  %10s", phrase.Count(*row.Before), phrase.Difference(*row.Difference))
		}
		out.Print("\n")
	}
}

// runColumn heads the figures of a run.
func runColumn(id int64) string { return "RUN " + strconv.FormatInt(id, 10) }

// reviewProducts tells of each product what was found of it.
func reviewProducts(out *terminal.Page, r *report.Review) {
	app := ""
	for i, p := range r.Products {
		if i == 0 {
			out.Print("\nBY PRODUCT")
			if r.Before != nil {
				out.Printf(" (and the difference from run %d)", r.Before.ID)
			}
			out.Print("\n")
		}
		if p.BundleID != app {
			app = p.BundleID
			out.Print(app + "\n")
		}
		out.Printf("  %s\n%s", p.ProductID, terminal.Wrap(4, eventPieces(p.Events)...))
	}
}

// eventPieces are counts of events that a line may be broken between.
func eventPieces(events []report.TypeFigure) []string {
	pieces := make([]string, len(events))
	for i, e := range events {
		pieces[i] = phrase.Count(e.Count) + " " + phrase.Words(string(e.Type))
		if e.Difference != nil && *e.Difference != 0 {
			pieces[i] += " (" + phrase.Difference(*e.Difference) + ")"
		}
		if i < len(events)-1 {
			pieces[i] += ","
		}
	}
	return pieces
}

func reviewAppsTable(out *terminal.Page, r *report.Review) {
	if len(r.Apps) == 0 {
		return
	}
	table := out.Table()
	table.Row("\nBY APP\t%7s\t%7s\t%6s\t%7s\t%7s\t%5s", "DONE", "CHANGED", "FAILED", "CALLS", "CALLS/S", "RATE")
	for _, a := range r.Apps {
		table.Row("%s\t%7s\t%7s\t%6s\t%7s\t%7s\t%5s", a.BundleID, phrase.Count(a.Done), phrase.Count(a.Changed), phrase.Count(a.Failed),
			phrase.Count(a.Calls), phrase.Decimal(a.CallsPerSecond), strconv.FormatFloat(a.RatePerSecond, 'g', 4, 64))
	}
	table.End()
}

// reviewUnfinished names the apps that left something unchecked, and those that are
// paused.
func reviewUnfinished(out *terminal.Page, r *report.Review) {
	var lines []string
	for _, a := range r.Apps {
		text := ""
		if a.Released > 0 {
			text = fmt.Sprintf("%s released unchecked", phrase.Count(a.Released))
		}
		if a.PausedCode != nil {
			if text != "" {
				text += ", "
			}
			text += "paused now: " + apps.PauseReason(a.PausedCode, a.PausedText)
		}
		if text != "" {
			lines = append(lines, a.BundleID+": "+text)
		}
	}
	for i, line := range lines {
		if i == 0 {
			out.Print("\nReleased unchecked, or paused:\n")
		}
		out.Print(out.Paint(terminal.Yellow, terminal.Wrap(2, strings.Fields(line)...)))
	}
}
