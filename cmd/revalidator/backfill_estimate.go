package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"revalidator/internal/ledger"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
)

// backfillEstimate is what a backfill would do.
type backfillEstimate struct {
	Receipts int64                `json:"receipts"`
	Counts   []ledger.FilterCount `json:"by_app_and_status"`
	Share    terminal.Percent     `json:"share"`
	// SecondsAlone and SecondsBeside are how long it takes at the configured
	// rates, without and with another run beside it.
	SecondsAlone  float64 `json:"seconds_alone"`
	SecondsBeside float64 `json:"seconds_beside_another_run"`
	// PausedApps are apps whose receipts have to wait.
	PausedApps []string `json:"paused_apps"`
}

// estimate prints what a backfill would do, and opens none.
func (p *program) estimate(ctx context.Context, parts *parts, filter ledger.Filter, share float64) error {
	counts, err := parts.db.CountChosen(ctx, filter)
	if err != nil {
		return err
	}
	apps, err := parts.db.Apps(ctx)
	if err != nil {
		return err
	}
	e := newEstimate(counts, apps, share)
	return p.Print(e, e.text)
}

// newEstimate adds up counts. Apps are asked about side by side, so that the
// slowest one takes the time.
func newEstimate(counts []ledger.FilterCount, apps []ledger.App, share float64) backfillEstimate {
	e := backfillEstimate{Counts: append([]ledger.FilterCount{}, counts...), Share: terminal.Percent(share), PausedApps: []string{}}
	seconds := make(map[string]float64)
	for _, c := range counts {
		e.Receipts += c.Receipts
		seconds[c.BundleID] += float64(c.Receipts) / c.RatePerSecond
	}
	for _, a := range apps {
		if seconds[a.BundleID] > 0 && a.PausedAt != nil {
			e.PausedApps = append(e.PausedApps, a.BundleID)
			delete(seconds, a.BundleID)
		}
	}
	for _, s := range seconds {
		e.SecondsAlone = max(e.SecondsAlone, s)
	}
	e.SecondsBeside = e.SecondsAlone / share
	return e
}

func (e backfillEstimate) text(out *terminal.Page) {
	if e.Receipts == 0 {
		out.Print("No receipt that Apple can be asked about meets the filters.\n")
		return
	}
	table := out.Table()
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
		table.Row("%8s\t%s\t%s", phrase.Count(c.Receipts), terminal.Short(c.BundleID, 34)+paused, status)
	}
	table.Row("%8s\tin all", phrase.Count(e.Receipts))
	table.End()
	out.Printf("\nAt the configured rates that takes %s alone,\nand %s with %s of them beside another run. Nothing was opened.\n",
		about(e.SecondsAlone), about(e.SecondsBeside), e.Share)
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
