package main

import (
	"github.com/spf13/cobra"

	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

func (p *program) reportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "report [RUN] [--json]",
		Short: "Show what a run found, by product, against the run before",
		Long: `Show what a run found: renewals, lapses, recoveries, grace periods, refunds and
all other events, in all and by product; failed responses by class; the
calls to Apple, their rate, and how long it took; what was left due, and which
apps are paused. Beside each figure stands by how much it differs from that of
the run before: the last finished one of the same kind.

Without a number it is the last finished run. How far a run is that is running
is shown by 'revalidator status'.`,
		Example: "  revalidator report\n  revalidator report 42\n  revalidator report --json | jq '.events[] | select(.type == \"refunded\")'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := runNumber(args)
			if err != nil {
				return terminal.Usage(err)
			}
			return p.with(c.Context(), func(parts *parts) error {
				r, err := report.ReadReview(c.Context(), parts.db, id, parts.clock.Now())
				if err != nil {
					return err
				}
				return terminal.Show(&p.Terminal, r, reviewText)
			}, needDatabase)
		},
	}
	p.AddJSON(c)
	return c
}
