package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

// FeedConfig says how a run is fed.
type FeedConfig struct {
	// Tick is the time between two looks at the queue, 200 ms by default; Look
	// that between two looks for a run to feed, 1 s; Tidy that between two looks
	// for claims that nobody works on any more, 1 s.
	Tick, Look, Tidy time.Duration
	// Ahead is how much work to keep queued for each app, at its rate: 1 min.
	Ahead time.Duration
	// Depth is how many receipts may be claimed at a time, over all apps and
	// runs. It bounds the memory of Redis: 5,000.
	Depth int
	// ClaimLease is how long a worker has for a receipt, from the claim on,
	// the time on the queue included: 15 min.
	ClaimLease time.Duration
	// OwnerLease is how long a run waits for a scheduler that died: 30 s. It is
	// renewed three times in that time.
	OwnerLease time.Duration
	// LargeBytes is the size from which a receipt travels in the queue for
	// large ones: 256 KiB.
	LargeBytes int64
}

func (c *FeedConfig) fill() {
	c.Tick = cmp.Or(c.Tick, 200*time.Millisecond)
	c.Look = cmp.Or(c.Look, time.Second)
	c.Tidy = cmp.Or(c.Tidy, time.Second)
	c.Ahead = cmp.Or(c.Ahead, time.Minute)
	c.Depth = cmp.Or(c.Depth, 5000)
	c.ClaimLease = cmp.Or(c.ClaimLease, 15*time.Minute)
	c.OwnerLease = cmp.Or(c.OwnerLease, 30*time.Second)
	c.LargeBytes = cmp.Or(c.LargeBytes, 256<<10)
}

// The deadlines of calls: of all of one round together, and of counting, which
// goes on next to them.
const (
	roundTimeout = 2 * time.Minute
	countTimeout = time.Hour
)

// feed is a run that is fed.
type feed struct {
	run runs.Run
	// counted is closed when it is known how many receipts belong to the run, and
	// no sooner may it end.
	counted chan struct{}
	tidied  time.Time
	// epoch is the one of the queue that claims were last made under.
	epoch string
}

// Feed keeps the queue filled for a run that this scheduler owns, until nothing
// of the run is left, its window is over, or ctx ends; then it returns the
// totals. A run that is left unfinished is taken over by another scheduler. Its
// error is runs.ErrLost where the run was ended or taken over by others, and
// jobs.ErrNotOwner where the queue belongs to another installation.
//
// Claims are committed before their tasks are enqueued. A process that dies in
// between leaves claims that run out, never a task without a claim.
func (s *Scheduler) Feed(ctx context.Context, run runs.Run) (runs.Totals, error) {
	var totals runs.Totals
	f := &feed{run: run, counted: make(chan struct{})}
	err := s.whileKept(ctx, run.ID, func(ctx context.Context) error {
		beside, end := context.WithCancel(ctx)
		var counting errgroup.Group
		counting.Go(func() error { s.count(beside, f); return nil })
		defer func() { end(); _ = counting.Wait() }()
		state, err := s.feed(ctx, f)
		if err != nil {
			return err
		}
		totals, err = s.end(ctx, run, state)
		return err
	})
	return totals, err
}

// feed tops the queue up until the run is over, and returns how that ended.
func (s *Scheduler) feed(ctx context.Context, f *feed) (runs.State, error) {
	loop := fmt.Sprintf("feed run %d", f.run.ID)
	defer s.loops.End(loop)
	for {
		s.loops.Beat(loop)
		if err := ctx.Err(); err != nil {
			return "", err
		}
		state, err := s.feedOnce(ctx, f)
		switch {
		case errors.Is(err, runs.ErrLost), errors.Is(err, jobs.ErrNotOwner), err == nil && state != runs.Running:
			return state, err
		case err != nil && ctx.Err() == nil:
			// Postgres or Redis is away: claims run out by themselves.
			s.cfg.Logger.Error("could not feed the queue", "run_id", f.run.ID, "error", err)
			_ = clock.Sleep(ctx, s.cfg.Feed.Look)
			continue
		}
		_ = clock.Sleep(ctx, s.cfg.Feed.Tick)
	}
}

// feedOnce tops the queue up and tells where the run stands.
func (s *Scheduler) feedOnce(ctx context.Context, f *feed) (runs.State, error) {
	round, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	now := s.cfg.Now()
	if !now.Before(f.run.Deadline) {
		return runs.CutOff, nil
	}
	if err := s.tidy(round, f, now); err != nil {
		return "", err
	}
	if s.cfg.Presence != nil && s.cfg.Presence.Contested() {
		return runs.Running, nil // which is logged there
	}
	counted := isClosed(f.counted) // before the look, because counting may find more
	claimed, err := s.fill(round, f.run)
	if err != nil || claimed > 0 {
		return runs.Running, err
	}
	left, err := s.hasWork(round, f.run, now)
	switch {
	case err != nil || !claim.RunIsOver(claimed, left):
		return runs.Running, err
	case counted:
		return runs.Finished, nil
	}
	select {
	case <-f.counted:
		return s.feedOnce(ctx, f)
	case <-round.Done():
		return runs.Running, nil
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// count finds out how many receipts belong to a run, while it is fed.
func (s *Scheduler) count(ctx context.Context, f *feed) {
	for ctx.Err() == nil {
		err := s.countOnce(ctx, f.run)
		if err == nil {
			close(f.counted)
			return
		}
		if ctx.Err() == nil && !errors.Is(err, runs.ErrLost) {
			s.cfg.Logger.Error("could not count what is due", "run_id", f.run.ID, "error", err)
		}
		_ = clock.Sleep(ctx, s.cfg.Feed.Look)
	}
}

func (s *Scheduler) countOnce(ctx context.Context, run runs.Run) error {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	if run.Kind == runs.Backfill {
		return s.cfg.Store.ChooseItems(ctx, run.ID, s.cfg.Now())
	}
	return s.cfg.Store.CountRun(ctx, run, s.cfg.Now())
}

// enqueueTimeout is how long the tasks of claims may take to the queue.
const enqueueTimeout = 30 * time.Second

// enqueue puts the tasks of claims on the queue, also when the scheduler is told
// to stop meanwhile: a claim without a task would hold its receipt back until
// its lease is over.
func (s *Scheduler) enqueue(ctx context.Context, run runs.Run, claims []claim.Claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enqueueTimeout)
	defer cancel()
	return s.cfg.Queue.Enqueue(ctx, s.tasks(run.ID, claims))
}

// tidy frees what nobody works on any more: claims on a queue that was emptied or
// replaced, and claims whose lease has run out. The queue is looked at in each round,
// before anything is claimed: what is claimed under the epoch of a queue that is gone
// is released with the rest, and checked twice.
func (s *Scheduler) tidy(ctx context.Context, f *feed, now time.Time) error {
	epoch, err := s.cfg.Queue.Epoch(ctx)
	isDue := now.Sub(f.tidied).Abs() >= s.cfg.Feed.Tidy
	if err != nil || epoch == f.epoch && !isDue {
		return err
	}
	// Also where the queue is as it was: the database may have been restored.
	followed, err := s.cfg.Store.FollowEpoch(ctx, s.cfg.Queue.Epoch)
	if err != nil {
		return err
	}
	f.epoch = followed.Epoch
	if followed.Released > 0 {
		s.cfg.Logger.Warn("queue was emptied or replaced: claims released", "claims", followed.Released)
	}
	if !isDue {
		return nil
	}
	f.tidied = now
	expired, err := s.cfg.Store.ReleaseExpired(ctx, now)
	if expired > 0 {
		s.cfg.Logger.Warn("claims ran out", "claims", expired)
	}
	if err != nil {
		return err
	}
	return s.reportSilent(ctx, now)
}

// claim claims receipts of a run, about limit of them at most, and of an app none
// that is due before since.
func (s *Scheduler) claim(ctx context.Context, run runs.Run, held claim.Held, since map[string]time.Time, limit int) ([]claim.Claim, error) {
	shares, err := s.shares(ctx)
	if err != nil {
		return nil, err
	}
	if share, limited := shares[apps.AllApps(apps.SourceVerifyReceipt, iap.Production).String()]; limited && share == 0 {
		return nil, nil // nobody asks: what is claimed would only be released
	}
	now := s.cfg.Now()
	request := claim.Request{
		RunID: run.ID, Owner: s.cfg.Owner, DueAfter: run.DueAfter, Cutoff: run.Cutoff,
		Now: now, Until: now.Add(s.cfg.Feed.ClaimLease), Due: s.cfg.Dates(),
		Ahead: s.cfg.Feed.Ahead, Share: run.Share, Limit: limit, Held: held, Since: since, Shares: shares,
	}
	if run.Kind == runs.Backfill {
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

func (s *Scheduler) hasWork(ctx context.Context, run runs.Run, now time.Time) (bool, error) {
	if run.Kind == runs.Backfill {
		return s.cfg.Store.HasItems(ctx, run)
	}
	return s.cfg.Store.HasWork(ctx, run, now)
}

func (s *Scheduler) tasks(runID int64, claims []claim.Claim) []jobs.Verify {
	tasks := make([]jobs.Verify, len(claims))
	for i, c := range claims {
		tasks[i] = jobs.Verify{
			ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: runID, BundleID: c.BundleID,
			Large: c.ByteSize >= s.cfg.Feed.LargeBytes, Allowance: claim.Allowance(c.ByteSize),
		}
	}
	return tasks
}

// end ends a run, unless somebody else has. A backfill that is through may have
// receipts of paused apps left.
func (s *Scheduler) end(ctx context.Context, run runs.Run, state runs.State) (runs.Totals, error) {
	// Also where the keeper finds it ended, or a person leaves, just then.
	told, cancelTold := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
	defer cancelTold()
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	end := func() (bool, error) { return s.cfg.Store.EndRun(ctx, run.ID, state, s.cfg.Now()) }
	if run.Kind == runs.Backfill && state == runs.Finished {
		end = func() (bool, error) { return s.cfg.Store.EndBackfill(ctx, run, s.cfg.Now()) }
	}
	if ended, err := end(); err != nil {
		return runs.Totals{}, err
	} else if !ended {
		return runs.Totals{}, runs.ErrLost
	}
	totals, err := s.cfg.Store.RunTotals(told, run.ID)
	if err != nil {
		return runs.Totals{}, err
	}
	log := s.cfg.Logger.With("run_id", run.ID, "due", totals.Counted(), "succeeded", totals.Succeeded, "failed", totals.Failed,
		"released", totals.Released, "changed", totals.Changed, "calls", totals.Calls)
	if state == runs.CutOff {
		log.Warn("run cut off: its window is over, and what was not done stays due")
	} else {
		log.Info("run finished")
	}
	return totals, nil
}
