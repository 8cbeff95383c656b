package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
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
	query  ledger.EventQuery
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
	c := &cobra.Command{
		Use:   "tail [flags]",
		Short: "Print events: renewals, lapses, refunds and the like",
		Long: `Print events, the changes of subscriptions and purchases, in the order in which
they were written: the last ones, or all after an id or since a time. With
--follow it goes on with each as it is written, until Ctrl-C.

A reader that keeps the id of the last event that it has seen gets each event
once with --after: no event appears later below one that was printed. With
--json each line is a document with the state before and after the change.

The types are:
` + terminal.Wrap(2, typeNames()...),
		Example: `  revalidator events tail
  revalidator events tail --follow --json --after 1042
  revalidator events tail --since 24h --type refunded,expired`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if t.query.Since, err = terminal.TimeOrAgo("--since", t.since, time.Now()); err != nil {
				return terminal.Usage(err)
			}
			if t.query.Types, err = eventTypes(types); err != nil {
				return terminal.Usage(err)
			}
			t.resumes = c.Flags().Changed("after")
			if err := t.validate(c.Flags().Changed("last")); err != nil {
				return terminal.Usage(err)
			}
			return p.tailEvents(c.Context(), t)
		},
	}
	c.Flags().BoolVarP(&t.follow, "follow", "f", false, "go on with each event as it is written, until Ctrl-C")
	c.Flags().Int64Var(&t.query.After, "after", 0, "all events after the one with the `id`; after 0 is all there are")
	c.Flags().StringVar(&t.since, "since", "", "all events written since a `time`, a date, or how long ago, such as 12h")
	c.Flags().IntVarP(&t.newest, "last", "n", 20, "how `many` of the last events, where no beginning is given")
	c.Flags().StringVar(&t.query.BundleID, "app", "", "only of the app with the `bundle id`")
	c.Flags().StringSliceVar(&types, "type", nil, "only of the `types`, separated by commas")
	c.Flags().BoolVar(&p.JSON, "json", false, "print one JSON document per event, each on a line of its own")
	return c
}

func typeNames() []string {
	var names []string
	for _, e := range iap.EventTypes() {
		names = append(names, string(e))
	}
	return names
}

func eventTypes(names []string) ([]iap.EventType, error) {
	var types []iap.EventType
	for _, name := range names {
		e := iap.EventType(name)
		if e.Validate() != nil {
			return nil, fmt.Errorf("--type %q: want some of %s", name, strings.Join(typeNames(), ", "))
		}
		types = append(types, e)
	}
	return types, nil
}

func (t tail) validate(givesLast bool) error {
	switch {
	case t.resumes && !t.query.Since.IsZero():
		return errors.New("--after and --since are two beginnings: give one")
	case givesLast && (t.resumes || !t.query.Since.IsZero()):
		return errors.New("--last counts from the end: leave it out beside --after and --since")
	case t.newest < 0 || t.newest > maxPage:
		return fmt.Errorf("--last must be from 0 to %d", maxPage)
	case t.query.After < 0:
		return errors.New("--after must be the id of an event, or 0")
	}
	return nil
}

const (
	// eventPage is how many events are read at a time.
	eventPage = 500
	// eventPoll is how often events are looked for where none are heard of.
	eventPoll = 2 * time.Second
)

func (p *program) tailEvents(ctx context.Context, t tail) error {
	parts, err := p.open(ctx, needDatabase)
	if err != nil {
		return err
	}
	defer parts.close()
	// So long ago by the clock that events are dated by.
	if t.query.Since, err = terminal.TimeOrAgo("--since", t.since, parts.appleTime()); err != nil {
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
	err = p.firstEvents(ctx, parts.db, &t, &out)
	switch {
	case t.follow && ctx.Err() != nil:
		return nil
	case err != nil || !t.follow:
		return err
	}
	return p.followEvents(ctx, parts.db, t.query, heard, &out)
}

// firstEvents prints what there is, and leaves in the query where to go on.
func (p *program) firstEvents(ctx context.Context, db *repository.DB, t *tail, out *eventPrinter) error {
	t.query.Limit = eventPage
	if !t.query.Since.IsZero() {
		after, err := db.EventBefore(ctx, t.query.Since)
		if err != nil {
			return err
		}
		t.query.After = after
	}
	if t.resumes || !t.query.Since.IsZero() {
		return printEvents(ctx, db, &t.query, out)
	}
	newest := t.query
	newest.Limit = t.newest
	events, next, err := db.NewestEvents(ctx, newest)
	if err != nil {
		return err
	}
	t.query.After = next
	if len(events) == 0 && !t.follow {
		p.Note("no events: they come with what a run finds changed, or choose others")
	}
	return out.print(events)
}

// printEvents prints page after page until there is no more for now.
func printEvents(ctx context.Context, db *repository.DB, q *ledger.EventQuery, out *eventPrinter) error {
	for {
		events, next, err := db.Events(ctx, *q)
		if err != nil {
			return err
		}
		if err := out.print(events); err != nil {
			return err
		}
		q.After = next
		if len(events) < q.Limit {
			return nil
		}
	}
}

// followEvents prints events as they come until ctx ends, which is no error.
// While Postgres does not answer it goes on trying, and nothing is left out.
func (p *program) followEvents(ctx context.Context, db *repository.DB, q ledger.EventQuery, heard <-chan struct{}, out *eventPrinter) error {
	poll := time.NewTicker(eventPoll)
	defer poll.Stop()
	troubled := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-heard:
		case <-poll.C:
		}
		err := printEvents(ctx, db, &q, out)
		switch {
		case ctx.Err() != nil:
			return nil
		case out.failed:
			return err
		case err != nil && !troubled:
			p.Note("%v; trying again until it is back", err)
		}
		troubled = err != nil
	}
}
