package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/ledger"
)

// listedBackfills is how many backfills are listed unless told otherwise.
const listedBackfills = 20

// backfillLine is a backfill with its figures.
type backfillLine struct {
	ledger.RunTotals
	Filter json.RawMessage `json:"filter"`
	// Fed is whether a process feeds it now.
	Fed bool `json:"fed"`
}

func newBackfillLine(t ledger.RunTotals, now time.Time) backfillLine {
	line := backfillLine{RunTotals: t, Filter: json.RawMessage("{}")}
	if t.Filter != nil {
		line.Filter = json.RawMessage(*t.Filter)
	}
	line.Fed = t.State == ledger.RunRunning && t.OwnerUntil.After(now)
	return line
}

func (p *program) backfillListCommand() *cobra.Command {
	limit := listedBackfills
	c := &cobra.Command{
		Use:   "list [--limit N] [--json]",
		Short: "List the backfills, the newest first",
		Long: `List the backfills, the newest first, each with the filters that chose its
receipts. One that is waiting is open and no process feeds it: a scheduler takes
it over, or 'backfill resume'.`,
		Example: "  revalidator backfill list\n  revalidator backfill list --limit 100 --json",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return usage(fmt.Errorf("--limit %d: want at least 1", limit))
			}
			parts, err := p.open(c.Context(), needDatabase)
			if err != nil {
				return err
			}
			defer parts.close()
			runs, err := parts.db.Backfills(c.Context(), limit)
			if err != nil {
				return err
			}
			now := parts.now()
			lines := make([]backfillLine, len(runs))
			for i, r := range runs {
				lines[i] = newBackfillLine(r, now)
			}
			return p.printer().print(lines, func(out io.Writer) error { return backfillsText(out, lines) })
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most `n` of them")
	p.addOutputFlag(c)
	return c
}

func backfillsText(out io.Writer, lines []backfillLine) error {
	if len(lines) == 0 {
		fmt.Fprintln(out, "No backfills yet.")
		return nil
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTATE\tSTART\tSHARE\t CHOSEN\t   DONE\tCHANGED\tFAILED")
	for _, l := range lines {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%7s\t%7s\t%7s\t%6s\n", l.ID, l.stateText(), when(l.StartedAt),
			percent(l.Share), dueCount(l.Due), count(l.Done), count(l.Changed), count(l.Failed))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return annotated(out, text.String(), func(i int) string { return filterText(lines[i].Filter) })
}

// stateText tells a run that waits for somebody to feed it from one that runs.
func (l backfillLine) stateText() string {
	if l.State == ledger.RunRunning && !l.Fed {
		return "waiting"
	}
	return words(string(l.State))
}

// filterText is a stored filter for a person.
func filterText(stored json.RawMessage) string {
	var f struct {
		ledger.Filter
		IDs int `json:"ids"`
	}
	if err := json.Unmarshal(stored, &f); err != nil {
		return "filter " + string(stored)
	}
	var parts []string
	add := func(name string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			parts = append(parts, name+" "+strings.Join(values, ","))
		}
	}
	add("app", f.BundleIDs...)
	add("customer", f.CustomerRefs...)
	add("status", texts(f.Statuses)...)
	add("state", texts(f.States)...)
	add("last result", f.LastResults...)
	add("checked before", timeText(f.CheckedBefore))
	add("expiring from", timeText(f.ExpiresFrom))
	add("expiring until", timeText(f.ExpiresUntil))
	if f.IDs > 0 {
		add("ids", fmt.Sprint(f.IDs))
	}
	if len(parts) == 0 {
		return "all receipts"
	}
	return strings.Join(parts, "; ")
}

// timeText is when, and empty for the zero time.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return when(t)
}
