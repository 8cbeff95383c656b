package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// listedBackfills is how many backfills are listed unless told otherwise.
const listedBackfills = 20

func (p *program) backfillListCommand() *cobra.Command {
	limit := listedBackfills
	c := &cobra.Command{
		Use:   "list [--limit N] [--json]",
		Short: "List the backfills, the newest first",
		Long: `List the backfills, the newest first, each with the filters that chose its
receipts. One that is waiting is open and no process feeds it: a scheduler takes
it over, or 'backfill resume'.`,
		Example: "  revalidator backfill list\n  revalidator backfill list --limit 100 --json",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return terminal.Usage(fmt.Errorf("--limit %d: want at least 1", limit))
			}
			return p.with(c.Context(), func(parts *parts) error {
				runs, err := parts.db.Backfills(c.Context(), limit)
				if err != nil {
					return err
				}
				now := parts.clock.Now()
				lines := make([]report.Backfill, len(runs))
				for i, r := range runs {
					lines[i] = report.NewBackfill(r, now)
				}
				return p.Print(lines, func(out *terminal.Page) { backfillsText(out, lines) })
			}, needDatabase)
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most `n` of them")
	p.AddJSON(c)
	return c
}

func backfillsText(out *terminal.Page, lines []report.Backfill) {
	if len(lines) == 0 {
		out.Print("No backfills yet.\n")
		return
	}
	table := out.Annotated(func(i int) string { return lines[i].FilterText() })
	table.Row("RUN\tSTATE\tSTART\tSHARE\t CHOSEN\t   DONE\tCHANGED\tFAILED")
	for _, l := range lines {
		table.Row("%d\t%s\t%s\t%s\t%7s\t%7s\t%7s\t%6s", l.ID, backfillState(l), phrase.Time(l.StartedAt),
			terminal.Percent(l.Share), phrase.CountIf(l.Due), phrase.Count(l.Done), phrase.Count(l.Changed), phrase.Count(l.Failed))
	}
	table.End()
}

// backfillState tells a run that waits for somebody to feed it from one that runs.
func backfillState(l report.Backfill) string {
	if l.State == runs.Running && !l.Fed {
		return "waiting"
	}
	return phrase.Words(string(l.State))
}
