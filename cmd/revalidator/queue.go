package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/terminal"
	"revalidator/jobs"
)

func (p *program) queueCommand() *cobra.Command {
	queue := &cobra.Command{
		Use:   "queue",
		Short: "Take over the queue in Redis after a restore or a move",
		Example: `  revalidator queue adopt
  revalidator status`,
	}
	queue.AddCommand(p.queueAdoptCommand())
	return queue
}

func (p *program) queueAdoptCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "adopt [--yes] [--json]",
		Short: "Make the queue in Redis that of this database",
		Long: `Make the queue in Redis that of this database, after the database was restored
from a dump or moved to another server. Redis remembers which database its queue
belongs to, and schedulers, workers and runs of any other are refused.

It deletes the tasks that are on the queue, and releases all claims of this
database: what is due is claimed and enqueued again. Nothing else is changed in
Postgres, and rates and pauses in Redis stay.

It is refused while a process of the other database is running. Where the other
database is still in use, give this one a Redis of its own instead.`,
		Example: "  revalidator queue adopt\n  revalidator queue adopt --yes --json",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.adopt(c.Context(), yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	p.AddJSON(c)
	return c
}

// adopted is the result of taking the queue over.
type adopted struct {
	// Former is the owner that the queue had, nil where it had none.
	Former *jobs.Owner `json:"former"`
	Owner  jobs.Owner  `json:"owner"`
	// Changed says that the queue changed its owner.
	Changed  bool  `json:"changed"`
	Deleted  int   `json:"deleted_tasks"`
	Released int64 `json:"released_claims"`
}

func (p *program) adopt(ctx context.Context, yes bool) error {
	return p.with(ctx, func(parts *parts) error {
		queue, err := parts.queueReader()
		if err != nil {
			return err
		}
		held, err := queue.Owner(ctx)
		if err != nil {
			return err
		}
		result := adopted{Former: held.Owner, Owner: held.Installation}
		if !held.Own && held.Owner != nil {
			if err := parts.strangersGone(ctx); err != nil {
				return err
			}
			question := fmt.Sprintf("Delete the tasks of %s from this Redis, and make its queue that of %s?", held.Owner, held.Installation)
			if !yes {
				if err := p.Confirm(ctx, question, "adopt the queue", "changed"); err != nil {
					return err
				}
			}
		}
		if !held.Own {
			if result.Deleted, result.Released, err = parts.adoptQueue(ctx); err != nil {
				return err
			}
			result.Changed = true
		}
		return p.PrintLine(result, "%s", result.text())
	}, needDatabase, needRedis)
}

// strangersGone is an error while a process of another installation is running.
func (s *parts) strangersGone(ctx context.Context) error {
	processes, err := s.queue().Processes(ctx)
	if err != nil {
		return err
	}
	own := s.owner().Installation
	processes = slices.DeleteFunc(processes, func(p jobs.Process) bool { return p.Installation == own })
	if len(processes) == 0 {
		return nil
	}
	running := make([]string, len(processes))
	for i, p := range processes {
		running[i] = fmt.Sprintf("%s %s", p.Kind, p.Name)
	}
	return errors.New("the other installation is running: " + strings.Join(running, ", ") +
		"; stop it first (one that was killed counts as running for 20 s), or give this database a Redis of its own")
}

// adoptQueue takes the queue, and releases the claims whose tasks were elsewhere.
func (s *parts) adoptQueue(ctx context.Context) (deleted int, released int64, err error) {
	queue := s.queue()
	if deleted, err = queue.Adopt(ctx); err != nil {
		return deleted, 0, err
	}
	followed, err := s.db.FollowEpoch(ctx, queue.Epoch)
	return deleted, followed.Released, err
}

func (a adopted) text() string {
	switch {
	case !a.Changed:
		return "The queue belongs to this " + a.Owner.String() + " already: nothing was changed."
	case a.Former == nil:
		return "The queue had no owner. It now belongs to this " + a.Owner.String() + "."
	}
	return fmt.Sprintf("The queue of %s\nis now that of this %s.\n%d tasks were deleted, %d claims released.",
		a.Former, a.Owner, a.Deleted, a.Released)
}
