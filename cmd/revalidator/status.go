package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/clock"
	"revalidator/internal/report"
	"revalidator/internal/stores"
	"revalidator/internal/terminal"
)

func (p *program) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status [RUN] [--watch] [--json]",
		Short: "Show the last runs, what is due, the queue, workers and secrets",
		Long: `Show the last runs with the progress of those that are running, the receipts
and subscriptions, what is due and since when, the queues, the workers and
schedulers, paused apps, and secrets that are missing or old.
With the number of a run: its results by app, event and failure class.

More than 100,000 receipts or subscriptions are not counted but estimated, as
Postgres does for itself; the time of the estimate is shown. While a run is
running, its pace is measured for a second.

Where Redis is away, what Postgres knows is shown all the same, and the exit
code is 1.

--watch refreshes it every two seconds, on a terminal, until Ctrl-C.`,
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
			return p.with(c.Context(), func(parts *parts) error {
				if err := parts.connectRedis(); err != nil {
					return err
				}
				read := parts.lookAt(id)
				if watch {
					defer parts.clock.Keep(c.Context())()
					return p.watchStatus(c.Context(), read)
				}
				return p.printStatus(c.Context(), read)
			}, needDatabase)
		},
	}
	p.AddJSON(c)
	c.Flags().BoolVar(&watch, "watch", false, "refresh it every two seconds, on a terminal")
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

// look is what one look has found, for scripts and for people.
type look struct {
	value any
	text  func(*terminal.Page)
	// missing is why a part of it could not be read.
	missing error
}

// lookFunc looks once. Looks of the same paces find out how fast runs go.
type lookFunc func(ctx context.Context, known *report.Paces) (look, error)

// lookAt looks at everything, or at one run where id is not 0.
func (s *parts) lookAt(id int64) lookFunc {
	return func(ctx context.Context, known *report.Paces) (look, error) {
		if id != 0 {
			r, err := report.ReadRun(ctx, s.db, id, known, s.clock.Now())
			return look{value: r, text: func(out *terminal.Page) { runText(out, r) }}, err
		}
		reader, err := s.statusReader()
		if err != nil {
			return look{}, err
		}
		r, err := reader.Read(ctx, known, s.clock.Now())
		if err != nil {
			return look{}, err
		}
		return look{r, func(out *terminal.Page) { statusText(out, r) }, r.Missing()}, nil
	}
}

const (
	// paceTime is how long the pace of a run is measured for one look.
	paceTime = time.Second
	// refreshEvery is how often --watch looks.
	refreshEvery = 2 * time.Second
)

// printStatus prints one look. A run that is running is looked at twice.
func (p *program) printStatus(ctx context.Context, read lookFunc) error {
	known := report.NewPaces()
	l, err := read(ctx, known)
	if err != nil {
		return err
	}
	if known.Measuring() {
		if err := clock.Sleep(ctx, paceTime); err != nil {
			return err
		}
		if l, err = read(ctx, known); err != nil {
			return err
		}
	}
	return errors.Join(p.Print(l.value, l.text), l.missing)
}

// watchStatus shows looks in place until ctx ends, and leaves the last of them on the
// terminal.
func (p *program) watchStatus(ctx context.Context, read lookFunc) error {
	known := report.NewPaces()
	return p.Watch(ctx, refreshEvery, func(ctx context.Context, out *terminal.Page) error {
		ctx, cancel := context.WithTimeout(ctx, stores.ReachTimeout) // clients may be slow to give up
		defer cancel()
		l, err := read(ctx, known)
		if err == nil {
			l.text(out)
		}
		return err
	})
}
