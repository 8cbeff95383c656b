package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"revalidator/internal/database"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// resumeCommand is 'run resume', for every kind of run, or 'backfill resume'.
func (p *program) resumeCommand(noun string) *cobra.Command {
	var o feedOptions
	c := &cobra.Command{
		Use:   "resume RUN [--worker] [--detach]",
		Short: "Go on with a " + noun + " that was interrupted, or has no process",
		Long: `Go on with a ` + noun + ` that was interrupted, or that no process feeds.
Receipts that were checked since it was started are not checked again.`,
		Example: fmt.Sprintf("  revalidator %s resume 7\n  revalidator %s resume 7 --detach", noun, noun),
		Args:    terminal.OneArgument("RUN, the number of the " + noun + ","),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := numberOf(noun, args[0])
			if err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			return p.with(c.Context(), func(parts *parts) error {
				return p.resume(c.Context(), parts, noun, id, o)
			}, o.needs()...)
		},
	}
	o.add(c)
	p.AddJSON(c)
	return c
}

func (p *program) resume(ctx context.Context, parts *parts, noun string, id int64, o feedOptions) error {
	totals, err := parts.totalsOf(ctx, noun, id)
	if err != nil {
		return err
	}
	s, work, err := p.services(ctx, parts, o.worker)
	if err != nil {
		return err
	}
	run, err := s.Resume(ctx, id, totals.Kind, o.detach)
	if errors.Is(err, database.ErrNotFound) {
		return parts.cannotResume(ctx, noun, id)
	}
	if err != nil {
		return err
	}
	return p.goOn(ctx, parts, s, run, true, work, o)
}

// cannotResume says why there is nothing to resume.
func (s *parts) cannotResume(ctx context.Context, noun string, id int64) error {
	totals, err := s.totalsOf(ctx, noun, id)
	if err != nil {
		return err
	}
	if totals.State != runs.Running {
		return fmt.Errorf("%s %d is %s: there is nothing to resume", noun, id, phrase.Words(string(totals.State)))
	}
	return fmt.Errorf("%s %d is fed by another process, or was until a moment ago; one that died is let go of within %s (REVALIDATOR_OWNER_LEASE)",
		noun, id, s.cfg.Queue.OwnerLease)
}

// cancelCommand is 'run cancel', for every kind of run, or 'backfill cancel'.
func (p *program) cancelCommand(noun string) *cobra.Command {
	c := &cobra.Command{
		Use:   "cancel RUN",
		Short: "End a " + noun + " for good",
		Long: `End a ` + noun + ` for good, wherever it runs. Workers finish the receipts that they
have claimed; what is still on the queue ends without a call to Apple. What was
done stays, and what was due stays due for the next run.`,
		Example: "  revalidator " + noun + " cancel 7",
		Args:    terminal.OneArgument("RUN, the number of the " + noun + ","),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := numberOf(noun, args[0])
			if err != nil {
				return err
			}
			return p.with(c.Context(), func(parts *parts) error {
				return p.cancelRun(c.Context(), parts, noun, id)
			}, needDatabase)
		},
	}
	p.AddJSON(c)
	return c
}

func (p *program) cancelRun(ctx context.Context, parts *parts, noun string, id int64) error {
	if _, err := parts.totalsOf(ctx, noun, id); err != nil {
		return err
	}
	changed, err := parts.db.CancelRun(ctx, id, parts.clock.Now())
	if err != nil {
		return err
	}
	totals, err := parts.totalsOf(ctx, noun, id)
	if err != nil {
		return err
	}
	if !changed {
		return fmt.Errorf("%s %d is %s: there is nothing to cancel", noun, id, phrase.Words(string(totals.State)))
	}
	line := report.NewBackfill(totals, parts.clock.Now())
	return p.PrintLine(line, "%s %d cancelled: %s of %s receipts were done", noun, id, phrase.Count(totals.Done), phrase.CountIf(totals.Due))
}

// totalsOf is a run with its figures, or an error that says that there is none.
func (s *parts) totalsOf(ctx context.Context, noun string, id int64) (runs.Totals, error) {
	totals, err := s.db.RunTotals(ctx, id)
	if errors.Is(err, database.ErrNotFound) || (err == nil && noun == "backfill" && totals.Kind != runs.Backfill) {
		return runs.Totals{}, notThere{fmt.Sprintf("there is no %s %d: see %s", noun, id, listOf(noun))}
	}
	return totals, err
}

// notThere is a database.ErrNotFound with a text of its own.
type notThere struct{ text string }

func (e notThere) Error() string { return e.text }
func (e notThere) Unwrap() error { return database.ErrNotFound }

func numberOf(noun, text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, terminal.Usage(fmt.Errorf("%q is not the number of a %s: see %s", text, noun, listOf(noun)))
	}
	return id, nil
}

// listOf is the command that lists runs, or backfills.
func listOf(noun string) string {
	if noun == "backfill" {
		return "'revalidator backfill list'"
	}
	return "'revalidator status'"
}
