package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// estimate prints what a backfill would do, and opens none.
func (p *program) estimate(ctx context.Context, parts *parts, filter runs.Filter, o backfillOptions) error {
	e, err := report.ReadEstimate(ctx, parts.db, filter, float64(o.share))
	if err != nil {
		return err
	}
	if e.Receipts == 0 {
		return errNothingChosen
	}
	p.noteMissingIDs(e.Receipts, o.filters, len(filter.IDs))
	return terminal.Show(&p.Terminal, e, estimateText)
}

func estimateText(out *terminal.Page, e report.Estimate) {
	out.Print(terminal.Wrap(0, strings.Fields("chosen by: "+e.ChosenBy)...) + "\n")
	table := out.Table().Cut(1)
	table.Row("RECEIPTS\tAPP\tSTATUS")
	for _, c := range e.Counts {
		status := "no subscription known"
		if c.Status != "" {
			status = phrase.Words(string(c.Status))
		}
		paused := ""
		if slices.Contains(e.PausedApps, c.BundleID) {
			paused = " (paused)"
		}
		table.Row("%8s\t%s\t%s", phrase.Count(c.Receipts), c.BundleID+paused, status)
	}
	table.Row("%8s\tin all", phrase.Count(e.Receipts))
	table.End()
	out.Printf("\nAt the configured rates that takes %s alone,\nand %s with %s of them next to another run. Nothing was opened.\n",
		about(e.SecondsAlone), about(e.SecondsBeside), terminal.Percent(e.Share))
	if len(e.PausedApps) > 0 {
		out.Print("Receipts of paused apps are left for 'revalidator backfill resume'.\n")
	}
}

// about is a time span as nobody needs it more exactly.
func about(seconds float64) string {
	span := time.Duration(seconds * float64(time.Second))
	switch {
	case span < time.Minute:
		return fmt.Sprintf("about %d s", max(1, int(seconds+0.5)))
	case span < time.Hour:
		return fmt.Sprintf("about %d min", int(span.Minutes()+0.5))
	case span < 48*time.Hour:
		return fmt.Sprintf("about %.1f hours", span.Hours())
	}
	return fmt.Sprintf("about %.1f days", span.Hours()/24)
}
