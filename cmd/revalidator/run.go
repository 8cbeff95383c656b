package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/stores"
	"revalidator/internal/terminal"
	"revalidator/scheduler"
)

func (p *program) runCommand() *cobra.Command {
	var withWorker, another bool
	c := &cobra.Command{
		Use:   "run [--new] [--worker] [--json]",
		Short: "Check everything that is due now, and show the progress to the end",
		Long: `Check everything that is due now, show the progress until that is done, and
print what has changed. Running workers do the checks; --worker adds one in this
process.

A nightly or manual run that no process feeds is taken over. One that
another process feeds is followed to its end instead of opening a second one:
its progress and its result are shown here too, and this process feeds it where
the other one stops. --new opens another run next to it, over the receipts that
are free: those that have become due since that one was opened.

Ctrl-C leaves the run to others: a scheduler goes on with it, or the next
'revalidator run'.

Exit code 3 says that it is done and some receipts failed, 1 that it was
cancelled, or cut off by its window (REVALIDATOR_RUN_WINDOW).`,
		Example: "  revalidator run\n  revalidator run --worker\n  revalidator run --new --quiet --json > run.json",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				return p.runOnce(c.Context(), parts, withWorker, another)
			}, feedOptions{worker: withWorker}.needs()...)
		},
	}
	p.AddJSON(c)
	c.Flags().BoolVar(&withWorker, "worker", false, "work in this process too")
	c.Flags().BoolVar(&another, "new", false, "open another run, also where one is open")
	c.AddCommand(p.resumeCommand("run"), p.cancelCommand("run"))
	return c
}

func (p *program) runOnce(ctx context.Context, parts *parts, withWorker, another bool) error {
	s, work, err := p.services(ctx, parts, withWorker)
	if err != nil {
		return err
	}
	run, how, err := joined(ctx, s, another)
	if err != nil {
		return err
	}
	switch how {
	case scheduler.TookOver:
		p.Note("no process feeds %s run %d, started by %s: taking it over", run.Kind, run.ID, orUnknown(run.StartedBy))
	case scheduler.Attached:
		p.Note("%s run %d, started by %s, is running: following it to its end;\n'revalidator run --new' opens another one", run.Kind, run.ID, orUnknown(run.StartedBy))
	}
	return p.goOn(ctx, parts, s, run, how != scheduler.Attached, work, feedOptions{worker: withWorker})
}

// joined opens a run or comes to an open one.
func joined(ctx context.Context, s *scheduler.Scheduler, another bool) (runs.Run, scheduler.Joined, error) {
	if another {
		run, err := s.Open(ctx)
		return run, scheduler.Opened, err
	}
	return s.OpenOrJoin(ctx)
}

// orUnknown is who started a run, for a sentence.
func orUnknown(who string) string {
	if who == "" {
		return "somebody"
	}
	return who
}

// goOn shows a run to its end and prints what it did, or leaves it to a scheduler.
// One that is mine is fed here.
func (p *program) goOn(ctx context.Context, parts *parts, s *scheduler.Scheduler, run runs.Run, mine bool, work func(context.Context) error, o feedOptions) error {
	if o.detach {
		return p.detached(ctx, parts, run.ID)
	}
	totals, err := p.follow(ctx, parts, s, run, mine, work)
	if err != nil {
		return interrupted(ctx, s, run, err)
	}
	return p.summarize(ctx, parts, totals)
}

// follow feeds a run, or follows it while others do, with what watches and works
// next to it: both end with the run, and a worker that cannot start ends it.
func (p *program) follow(ctx context.Context, parts *parts, s *scheduler.Scheduler, run runs.Run, mine bool, work func(context.Context) error) (totals runs.Totals, err error) {
	defer parts.clock.Keep(ctx)()
	beside, end := context.WithCancel(ctx)
	defer end()
	group, beside := errgroup.WithContext(beside)
	group.Go(func() error { return work(beside) })
	group.Go(func() error { return s.Attend(beside) })
	group.Go(func() error { p.watch(beside, parts, run.ID); return nil })
	err = runs.ErrLost
	if mine {
		totals, err = s.Feed(beside, run)
	}
	if errors.Is(err, runs.ErrLost) {
		totals, err = s.Follow(beside, run.ID)
	}
	end()
	if stopped := group.Wait(); stopped != nil {
		err = stopped
	}
	return totals, err
}

// interrupted leaves a run to others: a backfill to whoever resumes it, any other to
// whoever feeds runs. Its error says how it goes on.
func interrupted(ctx context.Context, s *scheduler.Scheduler, run runs.Run, cause error) error {
	name, resume := nameOfRun(run), fmt.Sprintf("continue with 'revalidator backfill resume %d'", run.ID)
	if run.Kind != runs.Backfill {
		resume = "a scheduler continues it, or the next 'revalidator run'"
	}
	if ctx.Err() == nil {
		resume = fmt.Sprintf("%v\n%s", cause, resume)
	}
	leave := s.Leave
	if run.Kind == runs.Backfill {
		leave = s.InterruptBackfill
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), stores.ReachTimeout)
	defer cancel()
	switch mine, err := leave(leaving, run.ID); {
	case err != nil:
		return fmt.Errorf("%s interrupted, which could not be noted (%w): a scheduler takes it over, or %s", name, err, resume)
	case !mine && ctx.Err() != nil:
		return fmt.Errorf("%s is running in another process: see 'revalidator status %d'", name, run.ID)
	}
	return fmt.Errorf("%s interrupted: workers finish what they have; %s", name, resume)
}

// nameOfRun names a run in a sentence.
func nameOfRun(run runs.Run) string {
	if run.Kind == runs.Backfill {
		return fmt.Sprintf("backfill %d", run.ID)
	}
	return fmt.Sprintf("run %d", run.ID)
}

// summarize prints what a run did. Its error says that it was not done, or that
// receipts failed.
func (p *program) summarize(ctx context.Context, parts *parts, totals runs.Totals) error {
	r, err := report.ReadRun(ctx, parts.db, totals.ID, report.NewPaces(), parts.clock.Now())
	if err != nil {
		return err
	}
	if err := terminal.Show(&p.Terminal, r, runText); err != nil {
		return err
	}
	done := fmt.Sprintf("%s of %s receipts were done", phrase.Count(totals.Done), phrase.CountIf(totals.Due))
	switch {
	case totals.State == runs.Cancelled:
		return fmt.Errorf("%s is cancelled: %s", nameOfRun(totals.Run), done)
	case totals.State == runs.CutOff:
		return fmt.Errorf("%s is cut off, because its window is over (REVALIDATOR_RUN_WINDOW): %s, and the rest stays due for the next run", nameOfRun(totals.Run), done)
	case totals.State == runs.Interrupted:
		return fmt.Errorf("%s is interrupted: an app is paused, which 'revalidator status' names, or it was stopped; then continue with 'revalidator backfill resume %d'",
			nameOfRun(totals.Run), totals.ID)
	case totals.Failed > 0:
		return terminal.Failures(errors.New(failedText(totals)))
	}
	return nil
}

// failedText says that receipts failed, what follows for them, and which command
// lists them.
func failedText(t runs.Totals) string {
	text := fmt.Sprintf("%d of %d receipts failed; their subscriptions are as they were, and ", t.Failed, t.Done)
	switch t.Quarantined {
	case 0:
		text += "they are due again"
	case t.Failed:
		text += "all of them are quarantined"
	default:
		text += fmt.Sprintf("they are due again, but for %d that are quarantined", t.Quarantined)
	}
	return fmt.Sprintf("%s: see 'revalidator receipts list --failed --run %d'", text, t.ID)
}
