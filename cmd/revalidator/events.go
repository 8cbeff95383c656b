package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) eventsCommand() *cobra.Command {
	events := &cobra.Command{
		Use:     "events",
		Short:   "Read what changed, in its order",
		Example: "  revalidator events tail --follow",
	}
	events.AddCommand(p.eventsTailCommand())
	return events
}

// tail is what 'events tail' is asked for.
type tail struct {
	query  repository.EventQuery
	follow bool
	newest int
	// resumes is whether the events after an id are wanted, which may be 0.
	resumes bool
	// since is the flag, from which the query has its time.
	since string
}

func (p *program) eventsTailCommand() *cobra.Command {
	var t tail
	var types []string
	var customer string
	c := &cobra.Command{
		Use:   "tail [flags]",
		Short: "Print events: renewals, lapses, refunds and the like",
		Long: `Print events, the changes of subscriptions and purchases, in the order in which
they were written: the last ones, or all after an id or since a time. With
--follow it goes on with each as it is written, until Ctrl-C.

A reader that keeps the id of the last event that it has seen gets each event
once with --after: no event appears later below one that was printed. With
--json each line is a document with the state before and after the change.

--customer chooses the events of what the customer's receipts show. The column
With --wide, CUSTOMER is the one whose receipt showed the change.

The types are:
` + terminal.Wrap(2, terminal.Texts(iap.EventTypes())...),
		Example: `  revalidator events tail
  revalidator events tail --follow --json --after 1042
  revalidator events tail --since 24h --type refunded,expired
  revalidator events tail --customer customer-7 --wide
  revalidator events tail --run 7 --product com.example.reader.monthly`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if t.query.Since, err = terminal.TimeOrAgo("--since", t.since, time.Now()); err != nil {
				return terminal.Usage(err)
			}
			if t.query.Types, err = terminal.OneOf("--type", types, iap.EventTypes()); err != nil {
				return terminal.Usage(err)
			}
			if c.Flags().Changed("customer") {
				t.query.CustomerRef = &customer
			}
			if c.Flags().Changed("run") && t.query.RunID < 1 {
				return terminal.Usage(fmt.Errorf("--run %d: want the number of a run, see 'revalidator status'", t.query.RunID))
			}
			t.resumes = c.Flags().Changed("after")
			if err := t.validate(c.Flags().Changed("last")); err != nil {
				return terminal.Usage(err)
			}
			return p.tailEvents(c.Context(), t)
		},
	}
	c.Flags().BoolVarP(&t.follow, "follow", "f", false, "then print each event as it is written, until Ctrl-C")
	c.Flags().Int64Var(&t.query.After, "after", 0, "all events after the one with the `id`; after 0 is all there are")
	c.Flags().StringVar(&t.since, "since", "", "all events written since a `time`, a date, or how long ago, such as 12h")
	c.Flags().IntVarP(&t.newest, "last", "n", 20, "how `many` of the last events, where no beginning is given")
	c.Flags().StringVar(&t.query.BundleID, "app", "", "only of the app with the `bundle id`")
	c.Flags().StringVar(&customer, "customer", "", "only of what the receipts of the customer with the `reference` show")
	c.Flags().Int64Var(&t.query.RunID, "run", 0, "only those that the run with the `number` found")
	c.Flags().StringVar(&t.query.ProductID, "product", "", "only of the product with the `id`")
	c.Flags().StringSliceVar(&types, "type", nil, "only of the `types`, separated by commas")
	c.Flags().BoolVar(&p.JSON, "json", false, "print one JSON document per event, each on a line of its own")
	return c
}

func (t tail) validate(givesLast bool) error {
	switch {
	case t.resumes && !t.query.Since.IsZero():
		return errors.New("--after and --since are two beginnings: give one")
	case givesLast && (t.resumes || !t.query.Since.IsZero()):
		return errors.New("--last counts from the end: leave it out with --after and --since")
	case t.newest < 0 || t.newest > maxPage:
		return fmt.Errorf("--last must be from 0 to %d", maxPage)
	case t.query.After < 0:
		return errors.New("--after must be the id of an event, or 0")
	}
	return nil
}

// eventPoll is how often events are looked for where none are heard of.
const eventPoll = 2 * time.Second

func (p *program) tailEvents(ctx context.Context, t tail) error {
	return p.with(ctx, func(parts *parts) (err error) {
		if err := parts.knowsOfEvents(ctx, t.query); err != nil {
			return err
		}
		// So long ago by the clock that events are dated by.
		if t.query.Since, err = terminal.TimeOrAgo("--since", t.since, parts.clock.AppleTime()); err != nil {
			return err
		}
		// Before the first look, so that nothing is written unheard between the two.
		var heard <-chan struct{}
		if t.follow {
			var stop func()
			heard, stop = parts.db.ListenForEvents()
			defer stop()
		}
		out := eventPrinter{terminal: &p.Terminal}
		events := report.EventReader{Store: parts.db, Query: t.query, Print: out.print}
		n, err := events.Start(ctx, t.resumes, t.newest)
		switch {
		case t.follow && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !t.follow:
			if n == 0 && !t.resumes && t.query.Since.IsZero() {
				p.Note("no events that all of the flags choose: a run writes one for each change that it finds")
			}
			return nil
		}
		poll := time.NewTicker(eventPoll)
		defer poll.Stop()
		return events.Follow(ctx, heard, poll.C, func(err error) { p.Note("%v; trying again until it is back", err) })
	}, needDatabase)
}
