package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/ledger"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) reportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "report [RUN] [--json]",
		Short: "Show what a run found, by product, against the run before",
		Long: `Show what a run found: renewals, lapses, recoveries, grace periods, refunds and
all other events, in all and by product; which answers were no use and why; the
calls to Apple, their rate, and how long it took; what was left due, and which
apps are paused. Beside each figure stands by how much it differs from that of
the run before: the last finished one of the same kind.

Without a number it is the last finished run. How far a run is that is running
tells 'revalidator status'.`,
		Example: "  revalidator report\n  revalidator report 42\n  revalidator report --json | jq '.events[] | select(.type == \"refunded\")'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := runNumber(args)
			if err != nil {
				return terminal.Usage(err)
			}
			parts, err := p.open(c.Context(), needDatabase)
			if err != nil {
				return err
			}
			defer parts.close()
			r, err := parts.runReview(c.Context(), id, parts.now())
			if err != nil {
				return err
			}
			return p.Print(r, r.text)
		},
	}
	p.AddJSON(c)
	return c
}

// findings is all that is stored of a run.
type findings struct {
	totals   ledger.RunTotals
	apps     []repository.RunApp
	products []repository.ProductEvents
	failures []repository.FailureCount
}

// runReview reads a run, or the last finished one where id is 0, and the one
// before it.
func (s *parts) runReview(ctx context.Context, id int64, now time.Time) (*runReview, error) {
	totals, err := s.runOrLast(ctx, id)
	if err != nil {
		return nil, err
	}
	this, err := s.findings(ctx, totals)
	if err != nil {
		return nil, err
	}
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return nil, err
	}
	totals, err = s.db.FinishedBefore(ctx, this.totals.Kind, this.totals.ID)
	if errors.Is(err, ledger.ErrNotFound) {
		return newRunReview(this, nil, apps, now), nil
	}
	if err != nil {
		return nil, err
	}
	before, err := s.findings(ctx, totals)
	if err != nil {
		return nil, err
	}
	return newRunReview(this, &before, apps, now), nil
}

func (s *parts) runOrLast(ctx context.Context, id int64) (ledger.RunTotals, error) {
	if id == 0 {
		totals, err := s.db.LastFinished(ctx)
		if errors.Is(err, ledger.ErrNotFound) {
			return totals, errors.New("no run has finished yet: see 'revalidator status' for those that are running")
		}
		return totals, err
	}
	totals, err := s.db.RunTotals(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return totals, fmt.Errorf("no run %d: see 'revalidator status' for the last ones", id)
	}
	return totals, err
}

func (s *parts) findings(ctx context.Context, totals ledger.RunTotals) (f findings, err error) {
	f.totals = totals
	if f.apps, err = s.db.RunApps(ctx, totals.ID); err != nil {
		return f, err
	}
	if f.products, err = s.db.RunProducts(ctx, totals.ID); err != nil {
		return f, err
	}
	f.failures, err = s.db.RunFailures(ctx, totals.ID)
	return f, err
}
