package scheduler

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/database"
	"revalidator/internal/runs"
)

// Backfills have no window: they run until they are done, or stopped.
const backfillWindow = 365 * 24 * time.Hour

// OpenBackfill opens a backfill over the receipts that a filter chooses now, and
// chooses them. Share is its part of each app's rate beside other runs, more than 0
// and up to 1; alone it takes the whole rate. Its error is database.ErrNotFound where
// the filter chooses nothing. Where choosing ends with another error, the run is open
// all the same, and is returned.
//
// A detached one is for whichever scheduler finds it first, and not to be fed
// here.
func (s *Scheduler) OpenBackfill(ctx context.Context, f runs.Filter, share float64, detached bool) (runs.Run, error) {
	now := s.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	run, err := s.cfg.Store.OpenBackfill(ctx, runs.Run{
		Kind: runs.Backfill, ScheduledFor: now.UTC(), Cutoff: s.cfg.Dates(), Deadline: now.Add(backfillWindow), Share: share,
		StartedBy: s.cfg.StartedBy,
	}, f, s.lease(now), now)
	if err != nil {
		return runs.Run{}, err
	}
	err = s.whileKept(ctx, run.ID, func(ctx context.Context) error { return s.cfg.Store.ChooseItems(ctx, run.ID, s.cfg.Now()) })
	if err != nil {
		return run, err
	}
	empty, err := s.cfg.Store.DropEmpty(ctx, run.ID)
	switch {
	case err != nil:
		return run, err
	case empty:
		return runs.Run{}, fmt.Errorf("chosen receipts: %w", database.ErrNotFound)
	case detached:
		_, err = s.Leave(ctx, run.ID)
	}
	return run, err
}

// Resume takes up a run that was interrupted or that no process feeds, for as long as
// one of its kind may take, or detaches it. Its error is database.ErrNotFound where
// there is no such run, or somebody feeds it.
func (s *Scheduler) Resume(ctx context.Context, id int64, kind runs.Kind, detached bool) (runs.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	now := s.cfg.Now()
	lease, window := s.lease(now), s.cfg.Window
	if detached {
		lease.Until = now
	}
	if kind == runs.Backfill {
		window = backfillWindow
	}
	return s.cfg.Store.ResumeRun(ctx, id, lease, now.Add(window), now)
}

// InterruptBackfill leaves a backfill that this scheduler feeds to be resumed by
// a person: no scheduler takes it over. What is with the workers is finished.
// It reports false where the backfill has ended, or another scheduler has it.
func (s *Scheduler) InterruptBackfill(ctx context.Context, id int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	return s.cfg.Store.InterruptBackfill(ctx, id, s.cfg.Owner, s.cfg.Now())
}
