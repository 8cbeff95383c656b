package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"revalidator/internal/ledger"
	"revalidator/scheduler"
)

func (p *program) runCommand() *cobra.Command {
	var withWorker bool
	c := &cobra.Command{
		Use:   "run [--worker] [--json]",
		Short: "Do one run now, and show its progress until it ends",
		Long: `Open a run over everything that is due now, feed it to the workers, show its
progress, and print what has changed. Running workers do the asking; --worker
adds one in this process. When a run is interrupted, a scheduler finishes it;
where there is none, what is left of it stays due for the next run.

Exit code 3 says that it is done and some receipts failed.`,
		Example: "  revalidator run\n  revalidator run --worker\n  revalidator run --quiet --json > run.json",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			needs := []need{needDatabase, needRedis}
			if withWorker {
				needs = append([]need{needKeys}, needs...)
			}
			parts, err := p.open(c.Context(), needs...)
			if err != nil {
				return err
			}
			defer parts.close()
			return p.runOnce(c.Context(), parts, withWorker)
		},
	}
	p.addOutputFlag(c)
	c.Flags().BoolVar(&withWorker, "worker", false, "work in this process too")
	return c
}

func (p *program) runOnce(ctx context.Context, parts *parts, withWorker bool) error {
	s, work, err := p.services(ctx, parts, withWorker)
	if err != nil {
		return err
	}
	run, err := s.Open(ctx)
	if err != nil {
		return err
	}
	totals, err := p.feed(ctx, parts, s, run, work)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("run %d interrupted: workers go on with what is queued, the rest stays due for the next run", run.ID)
	}
	if err != nil {
		return err
	}
	return p.summarize(ctx, parts, totals)
}

// feed feeds a run, with what watches and works beside it: both end with the
// run, and a worker that cannot start ends it.
func (p *program) feed(ctx context.Context, parts *parts, s *scheduler.Scheduler, run ledger.Run, work func(context.Context) error) (ledger.RunTotals, error) {
	defer parts.keepClocks(ctx)()
	beside, end := context.WithCancel(ctx)
	defer end()
	group, beside := errgroup.WithContext(beside)
	group.Go(func() error { return work(beside) })
	group.Go(func() error { return s.Attend(beside) })
	group.Go(func() error { p.watch(beside, parts, run.ID); return nil })
	totals, err := s.Feed(beside, run)
	end()
	if stopped := group.Wait(); stopped != nil {
		err = stopped
	}
	return totals, err
}

// summarize prints what a run did. Its error says that receipts failed.
func (p *program) summarize(ctx context.Context, parts *parts, totals ledger.RunTotals) error {
	r, err := parts.runReport(ctx, totals.ID, newPaces(), parts.now())
	if err != nil {
		return err
	}
	o := p.printer()
	if err := o.print(r, func(out io.Writer) error { return r.text(out, o) }); err != nil {
		return err
	}
	if totals.Failed > 0 {
		return &exitError{exitFailures, errors.New(failedText(totals))}
	}
	return nil
}

// failedText says that receipts failed, and what becomes of them.
func failedText(t ledger.RunTotals) string {
	text := fmt.Sprintf("%d of %d receipts failed; their subscriptions are as they were, and ", t.Failed, t.Done)
	switch t.Quarantined {
	case 0:
		return text + "they are due again"
	case t.Failed:
		return text + "all of them are quarantined: see 'revalidator receipts quarantined'"
	}
	return text + fmt.Sprintf("they are due again, but for %d that are quarantined: see 'revalidator receipts quarantined'", t.Quarantined)
}
