package scheduler

import (
	"context"
	"time"

	"revalidator/internal/ledger"
)

// Backfills have no window: they run until they are done, or stopped.
const backfillWindow = 365 * 24 * time.Hour

// OpenBackfill opens a backfill over the receipts that a filter chooses now.
// Share is its part of each app's rate beside other runs, more than 0 and up to
// 1; alone it takes the whole rate. Its error is ledger.ErrNotFound where the
// filter chooses nothing.
//
// A detached one is for whichever scheduler finds it first, and not to be fed
// here.
func (s *Scheduler) OpenBackfill(ctx context.Context, f ledger.Filter, share float64, detached bool) (ledger.Run, error) {
	now := s.cfg.Now()
	return s.cfg.Store.OpenBackfill(ctx, ledger.Run{
		Kind: ledger.RunBackfill, ScheduledFor: now.UTC(), Cutoff: s.cfg.Dates(), Deadline: now.Add(backfillWindow), Share: share,
	}, f, s.backfillLease(now, detached), now)
}

// ResumeBackfill takes up a backfill that was interrupted, or detaches it again.
// Its error is ledger.ErrNotFound where there is no such backfill, or somebody
// feeds it.
func (s *Scheduler) ResumeBackfill(ctx context.Context, id int64, detached bool) (ledger.Run, error) {
	now := s.cfg.Now()
	return s.cfg.Store.ResumeRun(ctx, id, s.backfillLease(now, detached), now.Add(backfillWindow), now)
}

// InterruptBackfill leaves a backfill that this scheduler feeds to be resumed by
// a person: no scheduler takes it over. What is with the workers is finished.
// It reports false where the backfill has ended, or another scheduler has it.
func (s *Scheduler) InterruptBackfill(ctx context.Context, id int64) (bool, error) {
	return s.cfg.Store.InterruptBackfill(ctx, id, s.cfg.Owner, s.cfg.Now())
}

// backfillLease is a lease that has ended already where the backfill is for
// others.
func (s *Scheduler) backfillLease(now time.Time, detached bool) ledger.Lease {
	lease := s.lease(now)
	if detached {
		lease.Until = now
	}
	return lease
}
