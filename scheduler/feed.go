package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/jobs"
)

// FeedConfig says how a run is fed.
type FeedConfig struct {
	// Tick is the time between two looks at the queue, 200 ms by default; Look
	// that between two looks for a run to feed, 1 s.
	Tick, Look time.Duration
	// Ahead is how much work to keep queued for each app, at its rate: 1 min.
	Ahead time.Duration
	// Depth is how many receipts may be claimed at a time, over all apps and
	// runs. It bounds the memory of Redis: 5,000.
	Depth int
	// ClaimLease is how long a worker has for a receipt, from the claim on,
	// the time on the queue included: 15 min.
	ClaimLease time.Duration
	// OwnerLease is how long a run waits for a scheduler that died: 30 s.
	OwnerLease time.Duration
	// LargeBytes is the size from which a receipt travels in the queue for
	// large ones: 256 KiB.
	LargeBytes int64
}

func (c *FeedConfig) fill() {
	setDefault(&c.Tick, 200*time.Millisecond)
	setDefault(&c.Look, time.Second)
	setDefault(&c.Ahead, time.Minute)
	setDefault(&c.Depth, 5000)
	setDefault(&c.ClaimLease, 15*time.Minute)
	setDefault(&c.OwnerLease, 30*time.Second)
	setDefault(&c.LargeBytes, 256<<10)
}

// ErrRunLost is a run that another scheduler took over or that was cancelled.
var ErrRunLost = errors.New("the run has ended or has another owner")

// Feed keeps the queue filled for a run that this scheduler owns, until nothing
// of the run is left, its window is over, or ctx ends; then it returns the
// totals. A run that is left unfinished is taken over by another scheduler.
//
// Claims are committed before their tasks are enqueued. A process that dies in
// between leaves claims that run out, never a task without a claim.
func (s *Scheduler) Feed(ctx context.Context, run ledger.Run) (ledger.RunTotals, error) {
	loop := fmt.Sprintf("feed run %d", run.ID)
	defer s.loops.End(loop)
	for {
		s.loops.Beat(loop)
		if err := ctx.Err(); err != nil {
			return ledger.RunTotals{}, err
		}
		done, err := s.feedOnce(ctx, run)
		switch {
		case errors.Is(err, ErrRunLost):
			return ledger.RunTotals{}, err
		case err != nil && ctx.Err() == nil:
			// Postgres or Redis is away: claims run out by themselves.
			s.cfg.Logger.Error("feed the queue", "run_id", run.ID, "error", err)
			wait(ctx, s.cfg.Feed.Look)
			continue
		case done:
			return s.end(ctx, run)
		}
		wait(ctx, s.cfg.Feed.Tick)
	}
}

// feedOnce tops the queue up and reports whether the run is done.
func (s *Scheduler) feedOnce(ctx context.Context, run ledger.Run) (done bool, err error) {
	now := s.cfg.Now()
	kept, err := s.cfg.Store.KeepRun(ctx, run.ID, s.lease(now))
	if err != nil {
		return false, err
	}
	if !kept {
		return false, ErrRunLost
	}
	if !now.Before(run.Deadline) {
		return true, nil
	}
	if err := s.tidy(ctx, now); err != nil {
		return false, err
	}
	claimed, err := s.fill(ctx, run)
	if err != nil || claimed > 0 {
		return false, err
	}
	left, err := s.hasWork(ctx, run, now)
	return err == nil && !left, err
}

// enqueueTimeout is how long the tasks of claims may take to the queue.
const enqueueTimeout = 30 * time.Second

// enqueue puts the tasks of claims on the queue, also when the scheduler is told
// to stop meanwhile: a claim without a task would hold its receipt back until
// its lease is over.
func (s *Scheduler) enqueue(ctx context.Context, run ledger.Run, claims []ledger.Claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enqueueTimeout)
	defer cancel()
	return s.cfg.Queue.Enqueue(ctx, s.tasks(run, claims))
}

// tidy frees what nobody works on any more: claims on a queue that was emptied
// or replaced, and claims whose lease has run out.
func (s *Scheduler) tidy(ctx context.Context, now time.Time) error {
	epoch, err := s.cfg.Queue.Epoch(ctx)
	if err != nil {
		return err
	}
	released, changed, err := s.cfg.Store.FollowEpoch(ctx, epoch)
	if err != nil {
		return err
	}
	if changed && released > 0 {
		s.cfg.Logger.Warn("queue is another one than before, claims released", "claims", released)
	}
	expired, err := s.cfg.Store.ReleaseExpired(ctx, now)
	if expired > 0 {
		s.cfg.Logger.Warn("claims ran out", "claims", expired)
	}
	return err
}

// claim claims receipts of a run, about limit of them at most.
func (s *Scheduler) claim(ctx context.Context, run ledger.Run, held ledger.Held, limit int) ([]ledger.Claim, error) {
	shares, err := s.shares(ctx)
	if err != nil {
		return nil, err
	}
	if share, limited := shares[ledger.AllApps(ledger.SourceVerifyReceipt, iap.Production).String()]; limited && share == 0 {
		return nil, nil // nobody asks: what is claimed would only be released
	}
	now := s.cfg.Now()
	request := ledger.ClaimRequest{
		RunID: run.ID, Cutoff: run.Cutoff,
		Now: now, Until: now.Add(s.cfg.Feed.ClaimLease), Due: s.cfg.Dates(),
		Ahead: s.cfg.Feed.Ahead, Share: run.Share, Limit: limit, Held: held, Shares: shares,
	}
	if run.Kind == ledger.RunBackfill {
		return s.cfg.Store.ClaimItems(ctx, request)
	}
	return s.cfg.Store.Claim(ctx, request)
}

// shares are the parts of the rates that are in force: more than the workers may
// ask about would only be claimed to be given back.
func (s *Scheduler) shares(ctx context.Context) (map[string]float64, error) {
	if s.cfg.Budgets == nil {
		return nil, nil
	}
	return s.cfg.Budgets.Shares(ctx)
}

func (s *Scheduler) hasWork(ctx context.Context, run ledger.Run, now time.Time) (bool, error) {
	if run.Kind == ledger.RunBackfill {
		return s.cfg.Store.HasItems(ctx, run, now)
	}
	return s.cfg.Store.HasWork(ctx, run, now)
}

func (s *Scheduler) tasks(run ledger.Run, claims []ledger.Claim) []jobs.Verify {
	tasks := make([]jobs.Verify, len(claims))
	for i, c := range claims {
		tasks[i] = jobs.Verify{
			ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: run.ID, BundleID: c.BundleID,
			Large: c.ByteSize >= s.cfg.Feed.LargeBytes, Allowance: ledger.Allowance(c.ByteSize),
		}
	}
	return tasks
}

func (s *Scheduler) end(ctx context.Context, run ledger.Run) (ledger.RunTotals, error) {
	var err error
	if run.Kind == ledger.RunBackfill {
		err = s.cfg.Store.EndBackfill(ctx, run, s.cfg.Now())
	} else {
		err = s.cfg.Store.EndRun(ctx, run.ID, ledger.RunFinished, s.cfg.Now())
	}
	if err != nil {
		return ledger.RunTotals{}, err
	}
	totals, err := s.cfg.Store.RunTotals(ctx, run.ID)
	if err != nil {
		return ledger.RunTotals{}, err
	}
	s.cfg.Logger.Info("run finished", "run_id", run.ID, "due", totals.Due, "done", totals.Done,
		"changed", totals.Changed, "failed", totals.Failed, "calls", totals.Calls)
	return totals, nil
}
