package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"revalidator/internal/ledger"
)

func (p *program) backfillResumeCommand() *cobra.Command {
	var o feedOptions
	c := &cobra.Command{
		Use:   "resume RUN [--worker] [--detach]",
		Short: "Go on with a backfill that was interrupted, or that nobody feeds",
		Long: `Go on with a backfill that was interrupted, or that nobody feeds, where it was
left: receipts that were checked since it was started are not asked about again.`,
		Example: "  revalidator backfill resume 7\n  revalidator backfill resume 7 --detach",
		Args:    oneArgument("RUN, the number of the backfill,"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := backfillNumber(args[0])
			if err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			parts, err := p.open(c.Context(), o.needs()...)
			if err != nil {
				return err
			}
			defer parts.close()
			return p.resumeBackfill(c.Context(), parts, id, o)
		},
	}
	o.add(c)
	p.addOutputFlag(c)
	return c
}

func (p *program) resumeBackfill(ctx context.Context, parts *parts, id int64, o feedOptions) error {
	if _, err := parts.backfillTotals(ctx, id); err != nil {
		return err
	}
	s, work, err := p.services(ctx, parts, o.worker)
	if err != nil {
		return err
	}
	run, err := s.ResumeBackfill(ctx, id, o.detach)
	if errors.Is(err, ledger.ErrNotFound) {
		return parts.cannotResume(ctx, id)
	}
	if err != nil {
		return err
	}
	return p.goOn(ctx, parts, s, run, work, o)
}

// cannotResume says why there is nothing to resume.
func (s *parts) cannotResume(ctx context.Context, id int64) error {
	totals, err := s.backfillTotals(ctx, id)
	if err != nil {
		return err
	}
	if totals.State != ledger.RunRunning {
		return fmt.Errorf("backfill %d is %s: there is nothing to resume", id, totals.State)
	}
	return fmt.Errorf("backfill %d is fed by another process, or was until a moment ago; one that died is let go of within %s (REVALIDATOR_OWNER_LEASE)",
		id, s.cfg.Queue.OwnerLease)
}

func (p *program) backfillCancelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cancel RUN",
		Short: "End a backfill for good",
		Long: `End a backfill for good, wherever it runs. Workers finish the receipts that they
have in hand; what is still on the queue ends without a call to Apple. What was
done stays.`,
		Example: "  revalidator backfill cancel 7",
		Args:    oneArgument("RUN, the number of the backfill,"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := backfillNumber(args[0])
			if err != nil {
				return err
			}
			parts, err := p.open(c.Context(), needDatabase)
			if err != nil {
				return err
			}
			defer parts.close()
			return p.cancelBackfill(c.Context(), parts, id)
		},
	}
	p.addOutputFlag(c)
	return c
}

func (p *program) cancelBackfill(ctx context.Context, parts *parts, id int64) error {
	if _, err := parts.backfillTotals(ctx, id); err != nil {
		return err
	}
	changed, err := parts.db.CancelRun(ctx, id, parts.now())
	if err != nil {
		return err
	}
	totals, err := parts.backfillTotals(ctx, id)
	if err != nil {
		return err
	}
	if !changed {
		return fmt.Errorf("backfill %d is %s: there is nothing to cancel", id, totals.State)
	}
	line := newBackfillLine(totals, parts.now())
	return p.printer().print(line, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "backfill %d cancelled: %s of %s receipts were done\n", id, count(totals.Done), count(totals.Due))
		return err
	})
}

// backfillTotals is a backfill with its figures, or an error that says that
// there is none.
func (s *parts) backfillTotals(ctx context.Context, id int64) (ledger.RunTotals, error) {
	totals, err := s.db.RunTotals(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) || (err == nil && totals.Kind != ledger.RunBackfill) {
		return ledger.RunTotals{}, fmt.Errorf("there is no backfill %d: see 'revalidator backfill list'", id)
	}
	return totals, err
}

func backfillNumber(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, usage(fmt.Errorf("%q is no number of a backfill: see 'revalidator backfill list'", text))
	}
	return id, nil
}
