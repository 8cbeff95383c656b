package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/ledger"
	"revalidator/internal/terminal"
)

func (p *program) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status [RUN] [--watch] [--json]",
		Short: "Show the last runs, what is due, the queue, workers and secrets",
		Long: `Show the last runs with the progress of those that are running, the receipts
and subscriptions, what is due and since when, the queues with what is in hand,
the workers and schedulers, paused apps, and secrets that are missing or old.
With the number of a run: what became of it, by app, event and failure.

More than 100,000 receipts or subscriptions are not counted but estimated, as
Postgres does for itself; the time of the estimate is shown. While a run is
running, its pace is measured for a second.

Where Redis is away, what Postgres knows is shown all the same, and the exit
code is 1.

--watch shows it anew every two seconds, on a terminal, until Ctrl-C.`,
		Example: "  revalidator status\n  revalidator status 42\n  revalidator status --watch\n  revalidator status --json | jq .due",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := runNumber(args)
			if err != nil {
				return terminal.Usage(err)
			}
			if watch && (p.JSON || !terminal.IsTerminal(p.Out)) {
				return terminal.Usage(errors.New("--watch needs a terminal: leave it out, and ask again when you want to know"))
			}
			parts, err := p.open(c.Context(), needDatabase)
			if err != nil {
				return err
			}
			defer parts.close()
			if err := parts.connectRedis(); err != nil {
				return err
			}
			look := p.look(parts, id)
			if watch {
				defer parts.keepClocks(c.Context())()
				return p.watchScreen(c.Context(), look)
			}
			return p.lookOnce(c.Context(), look)
		},
	}
	p.AddJSON(c)
	c.Flags().BoolVar(&watch, "watch", false, "show it anew every two seconds, on a terminal")
	return c
}

// runNumber is the run that is asked about, 0 where none is.
func runNumber(args []string) (int64, error) {
	if len(args) == 0 {
		return 0, nil
	}
	id, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q is no number of a run: see 'revalidator status' for those", args[0])
	}
	return id, nil
}

// report is one look, for scripts and for people.
type report interface {
	text(out *terminal.Page)
	// missing is why a part of it could not be read.
	missing() error
}

// lookFunc looks once. Looks of the same paces find out how fast runs go.
type lookFunc func(ctx context.Context, known *paces) (report, error)

// look is how to look at everything, or at one run where id is not 0.
func (p *program) look(parts *parts, id int64) lookFunc {
	if id == 0 {
		return func(ctx context.Context, known *paces) (report, error) { return parts.status(ctx, known, parts.now()) }
	}
	return func(ctx context.Context, known *paces) (report, error) {
		r, err := parts.runReport(ctx, id, known, parts.now())
		if errors.Is(err, ledger.ErrNotFound) {
			return nil, fmt.Errorf("no run %d: see 'revalidator status' for the last ones", id)
		}
		return r, err
	}
}

// paceTime is how long the pace of a run is measured for one look.
const paceTime = time.Second

// lookOnce prints one look. A run that is running is looked at twice.
func (p *program) lookOnce(ctx context.Context, look lookFunc) error {
	known := newPaces()
	r, err := look(ctx, known)
	if err != nil {
		return err
	}
	if known.measuring() {
		if err := pause(ctx, paceTime); err != nil {
			return err
		}
		if r, err = look(ctx, known); err != nil {
			return err
		}
	}
	if err := p.Print(r, r.text); err != nil {
		return err
	}
	return r.missing()
}

// pause returns after d, or with an error when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
