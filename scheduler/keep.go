package scheduler

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"revalidator/internal/clock"
	"revalidator/internal/database"
	"revalidator/internal/runs"
)

// leaveTimeout bounds the last word of a scheduler that ends.
const leaveTimeout = 2 * time.Second

// whileKept does something with a run that this scheduler owns, and keeps the lease
// meanwhile, however long a call takes. Where the run is lost, what is done is ended
// with runs.ErrLost.
func (s *Scheduler) whileKept(ctx context.Context, id int64, do func(context.Context) error) error {
	kept, lose := context.WithCancelCause(ctx)
	var keeping errgroup.Group
	keeping.Go(func() error { s.keep(kept, id, lose); return nil })
	err := do(kept)
	lost := errors.Is(context.Cause(kept), runs.ErrLost)
	lose(nil)
	_ = keeping.Wait()
	if err != nil && lost {
		return runs.ErrLost
	}
	return err
}

// keep renews the lease of a run until ctx ends.
func (s *Scheduler) keep(ctx context.Context, id int64, lose context.CancelCauseFunc) {
	every := s.cfg.Feed.OwnerLease / 3
	for ctx.Err() == nil {
		switch kept, err := s.keepOnce(ctx, id, every); {
		case ctx.Err() != nil:
		case err != nil:
			s.cfg.Logger.Error("could not keep the run", "run_id", id, "error", err)
			_ = clock.Sleep(ctx, min(s.cfg.Feed.Look, every))
		case !kept:
			lose(runs.ErrLost)
		default:
			_ = clock.Sleep(ctx, every)
		}
	}
}

func (s *Scheduler) keepOnce(ctx context.Context, id int64, timeout time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.cfg.Store.KeepRun(ctx, id, s.lease(s.cfg.Now()))
}

// Leave gives a run up, also after ctx has ended, so that others need not wait for
// the end of the lease. It reports false where the run was not this scheduler's.
func (s *Scheduler) Leave(ctx context.Context, id int64) (mine bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return s.cfg.Store.KeepRun(ctx, id, runs.Lease{Owner: s.cfg.Owner, Until: s.cfg.Now()})
}

// Follow waits until a run has ended and returns its totals, whoever feeds it. Where
// nobody does, it takes the run over.
func (s *Scheduler) Follow(ctx context.Context, id int64) (runs.Totals, error) {
	for {
		totals, err := s.followOnce(ctx, id)
		switch {
		case ctx.Err() != nil:
			return totals, ctx.Err()
		case errors.Is(err, database.ErrNotFound), err == nil && totals.State != runs.Running:
			return totals, err
		case err != nil && !errors.Is(err, runs.ErrLost):
			s.cfg.Logger.Error("could not read the run", "run_id", id, "error", err)
		}
		_ = clock.Sleep(ctx, s.cfg.Feed.Look)
	}
}

func (s *Scheduler) followOnce(ctx context.Context, id int64) (runs.Totals, error) {
	look, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	totals, err := s.cfg.Store.RunTotals(look, id)
	now := s.cfg.Now()
	if err != nil || totals.State != runs.Running || totals.OwnerUntil.After(now) {
		return totals, err
	}
	run, err := s.cfg.Store.ResumeRun(look, id, s.lease(now), totals.Deadline, now)
	if errors.Is(err, database.ErrNotFound) { // somebody else was faster
		return totals, nil
	}
	if err != nil {
		return totals, err
	}
	s.cfg.Logger.Info("run taken over: no process fed it", "run_id", id)
	return s.Feed(ctx, run)
}
