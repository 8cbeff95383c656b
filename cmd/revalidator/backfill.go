package main

import (
	"context"
	"errors"
	"time"

	"revalidator/internal/terminal"

	"github.com/spf13/cobra"
)

// defaultShare is the part of each app's rate that a backfill takes next to
// another run.
const defaultShare = terminal.Percent(0.3)

// backfillOptions are the flags of backfill.
type backfillOptions struct {
	filters filterFlags
	share   terminal.Percent
	dryRun  bool
	feedOptions
}

// feedOptions are the flags that say who feeds a backfill and does its work.
type feedOptions struct {
	worker, detach bool
}

func (p *program) backfillCommand() *cobra.Command {
	o := backfillOptions{share: defaultShare}
	c := &cobra.Command{
		Use:   "backfill (FILTERS | --all) [--share 30%] [--dry-run]",
		Short: "Ask about chosen receipts now, whether they are due or not",
		Long: `Check the receipts that all of the filters choose, due or not, and
show the progress until it ends. Receipts that are checked by another run after
the backfill was started are not checked again. Receipts that can never be
checked (from Xcode, or too large) are not chosen.

A filter takes several values, separated by commas or by giving it again; any
of them will do. --status and --expiring look at the subscriptions that a
receipt shows: one of them must meet both.

Alone, a backfill takes the whole rate of an app. Next to a nightly or manual
run it takes --share of it, and that is for all backfills together.

Ctrl-C interrupts a backfill: workers finish what they have, and 'backfill
resume' goes on later. Where the process is killed instead, a scheduler takes
the backfill over. --detach leaves it to a scheduler at once. 'backfill cancel'
ends it for good.

Exit code 3 says that it is done and some receipts failed.`,
		Example: `  revalidator backfill --status expired,billing_retry --dry-run
  revalidator backfill --app com.example.reader --checked-before 7d --worker
  revalidator backfill --expiring 2026-01-01..2026-02-01 --share 50%
  revalidator backfill --last-result timeout,server_error --detach
  revalidator backfill --ids ids.txt`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.backfill(c.Context(), o)
		},
	}
	o.filters.add(c)
	c.Flags().Var(&o.share, "share", "`part` of each app's rate to take next to another run")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "say how many receipts that is and how long it takes, and open nothing")
	o.feedOptions.add(c)
	p.AddJSON(c)
	c.AddCommand(p.backfillListCommand(), p.resumeCommand("backfill"), p.cancelCommand("backfill"))
	return c
}

func (o *feedOptions) add(c *cobra.Command) {
	c.Flags().BoolVar(&o.worker, "worker", false, "work in this process too")
	c.Flags().BoolVar(&o.detach, "detach", false, "leave it to a scheduler, and do not wait for its end")
}

// validate reports flags that contradict each other.
func (o feedOptions) validate() error {
	if o.worker && o.detach {
		return terminal.Usage(errors.New("--detach leaves the run to others, --worker works on it here: give one of them"))
	}
	return nil
}

// needs are the parts of the program that feeding needs.
func (o feedOptions) needs() []need {
	if o.worker {
		return []need{needKeys, needDatabase, needRedis}
	}
	return []need{needDatabase, needRedis}
}

func (p *program) backfill(ctx context.Context, o backfillOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	filter, err := p.filter(ctx, o.filters, time.Now())
	if err != nil {
		return err
	}
	needs := o.needs()
	if o.dryRun {
		needs = []need{needDatabase}
	}
	parts, err := p.open(ctx, needs...)
	if err != nil {
		return err
	}
	defer parts.close()
	// So long ago by the clock that results are dated by.
	filter.CheckedBefore, err = terminal.TimeOrAgo("--checked-before", o.filters.checkedBefore, parts.clock.AppleTime())
	if err != nil {
		return err
	}
	if err := parts.knowsChosen(ctx, filter); err != nil {
		return err
	}
	if o.dryRun {
		return p.estimate(ctx, parts, filter, o)
	}
	return p.startBackfill(ctx, parts, filter, o)
}
