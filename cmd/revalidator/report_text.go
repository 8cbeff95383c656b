package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"revalidator/internal/ledger"
)

// text is the review for people.
func (r *runReview) text(out io.Writer, o printer) error {
	r.head(out)
	sections := []reviewSection{
		{"RECEIPTS", r.totalRows()},
		{"WHAT CHANGED", rowsOf(r.Events, func(e typeFigure) (string, figure) { return words(string(e.Type)), e.figure })},
		{"ANSWERS THAT WERE NO USE", rowsOf(r.Failures, func(f classFigure) (string, figure) { return words(f.Class), f.figure })},
	}
	for _, section := range sections {
		r.section(out, section, nameWidth(sections))
	}
	r.products(out)
	if err := r.appsTable(out); err != nil {
		return err
	}
	r.unfinished(out, o)
	return nil
}

func (r *runReview) head(out io.Writer) {
	took := "took"
	if r.State == ledger.RunRunning {
		took = "has taken"
	}
	fmt.Fprintf(out, "%s run %d of %s, %s: %s %s,\n%s to Apple, %s/s.\n", r.Kind, r.ID, when(r.ScheduledFor), words(string(r.State)), took,
		duration(r.ElapsedSeconds), plural(r.Calls, "call"), decimal(r.CallsPerSecond))
	if r.StartedBy != "" {
		fmt.Fprintf(out, "Started by %s.\n", r.StartedBy)
	}
	if r.Due == nil {
		fmt.Fprintln(out, "What is due is still being counted.")
	}
	if b := r.Before; b != nil {
		fmt.Fprintf(out, "Compared with run %d of %s, which took %s at %s/s.\n", b.ID, when(b.ScheduledFor),
			duration(b.ElapsedSeconds), decimal(b.CallsPerSecond))
		return
	}
	fmt.Fprintf(out, "There is no finished %s run before it to compare with.\n", r.Kind)
}

// decimal is a rate for a person.
func decimal(n float64) string {
	digits := 1
	if n < 10 {
		digits = 2
	}
	return strconv.FormatFloat(n, 'f', digits, 64)
}

// reviewRow is a line of the review.
type reviewRow struct {
	name string
	figure
}

func (r *runReview) totalRows() []reviewRow {
	due := "due"
	if r.Kind == ledger.RunBackfill {
		due = "chosen"
	}
	t := r.Totals
	rows := []reviewRow{
		{"succeeded", t.Succeeded}, {"failed", t.Failed}, {"released unchecked", t.Released}, {"changed", t.Changed}, {"calls to Apple", t.Calls},
	}
	if t.Due == nil {
		return rows
	}
	return slices.Concat([]reviewRow{{due, *t.Due}}, rows[:3], []reviewRow{{"still in the run", *t.InRun}}, rows[3:])
}

func rowsOf[T any](items []T, row func(T) (string, figure)) []reviewRow {
	rows := make([]reviewRow, len(items))
	for i, item := range items {
		rows[i].name, rows[i].figure = row(item)
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

// section prints a heading and its lines, and nothing where there are none.
func (r *runReview) section(out io.Writer, s reviewSection, width int) {
	if len(s.rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%-*s  %9s", width, s.heading, runColumn(r.ID))
	if r.Before != nil {
		fmt.Fprintf(out, "  %9s  %10s", runColumn(r.Before.ID), "DIFFERENCE")
	}
	fmt.Fprintln(out)
	for _, row := range s.rows {
		fmt.Fprintf(out, "%-*s  %9s", width, row.name, count(row.Count))
		if row.Difference != nil {
			fmt.Fprintf(out, "  %9s  %10s", count(*row.Before), signed(*row.Difference))
		}
		fmt.Fprintln(out)
	}
}

// runColumn heads the figures of a run.
func runColumn(id int64) string { return "RUN " + strconv.FormatInt(id, 10) }

// signed is a difference for a person; none is a dash.
func signed(n int64) string {
	switch {
	case n == 0:
		return "-"
	case n > 0:
		return "+" + count(n)
	}
	return "-" + count(-n)
}

// products tells of each product what was found of it.
func (r *runReview) products(out io.Writer) {
	app := ""
	for i, p := range r.Products {
		if i == 0 {
			fmt.Fprint(out, "\nBY PRODUCT")
			if r.Before != nil {
				fmt.Fprintf(out, " (and the difference from run %d)", r.Before.ID)
			}
			fmt.Fprintln(out)
		}
		if p.BundleID != app {
			app = p.BundleID
			fmt.Fprintln(out, app)
		}
		fmt.Fprintf(out, "  %s\n%s", p.ProductID, indented(eventPieces(p.Events), 4, 80))
	}
}

// eventPieces are counts of events that a line may be broken between.
func eventPieces(events []typeFigure) []string {
	pieces := make([]string, len(events))
	for i, e := range events {
		pieces[i] = count(e.Count) + " " + words(string(e.Type))
		if e.Difference != nil && *e.Difference != 0 {
			pieces[i] += " (" + signed(*e.Difference) + ")"
		}
		if i < len(events)-1 {
			pieces[i] += ","
		}
	}
	return pieces
}

func (r *runReview) appsTable(out io.Writer) error {
	if len(r.Apps) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nBY APP\t%7s\t%7s\t%6s\t%7s\t%7s\t%5s\n", "DONE", "CHANGED", "FAILED", "CALLS", "CALLS/S", "RATE")
	for _, a := range r.Apps {
		fmt.Fprintf(table, "%s\t%7s\t%7s\t%6s\t%7s\t%7s\t%5s\n", a.BundleID, count(a.Done), count(a.Changed), count(a.Failed),
			count(a.Calls), decimal(a.CallsPerSecond), strconv.FormatFloat(a.RatePerSecond, 'g', 4, 64))
	}
	return table.Flush()
}

// unfinished names the apps that left something unchecked, and those that are
// paused.
func (r *runReview) unfinished(out io.Writer, o printer) {
	var lines []string
	for _, a := range r.Apps {
		text := ""
		if a.Released > 0 {
			text = fmt.Sprintf("%s released unchecked", count(a.Released))
		}
		if a.PausedCode != nil {
			if text != "" {
				text += ", "
			}
			text += "paused now: " + ledger.PauseReason(a.PausedCode, a.PausedText)
		}
		if text != "" {
			lines = append(lines, a.BundleID+": "+text)
		}
	}
	for i, line := range lines {
		if i == 0 {
			fmt.Fprintln(out, "\nReleased unchecked, or paused:")
		}
		fmt.Fprint(out, o.paint(yellow, indented(strings.Fields(line), 2, 80)))
	}
}
