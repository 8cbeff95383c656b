// Package scheduler decides which receipts are checked and when: it opens
// runs, claims due receipts for them and feeds the queue, a minute or two of
// work at a time. What happens to a receipt then is the worker's; the scheduler
// never calls Apple. Any number of schedulers may run side by side.
package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/robfig/cron/v3"
	"golang.org/x/sync/errgroup"

	"revalidator/internal/clock"
	"revalidator/internal/database"
	"revalidator/internal/pulse"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

// Config says what a Scheduler does. Window and the durations of Feed have
// defaults.
type Config struct {
	Store Store
	Queue Queue
	// Presence says that the scheduler is running; nil says nothing.
	Presence Presence
	// Budgets tell of which apps less is asked now, or nothing; nil is none.
	Budgets Budgets
	// Clocks tell of endpoints whose checks are held because the clock is wrong;
	// nil is none.
	Clocks Clocks
	// Owner names this process among the schedulers; it must differ from
	// every other's. StartedBy says to people who it is: user@host, pid.
	Owner, StartedBy string
	// Schedule is when nightly runs start; its zone is the zone of the times
	// that it is checked.
	Schedule cron.Schedule
	Zone     *time.Location
	// Window is how long a run may take; what is left then stays due.
	Window time.Duration
	// CatchUp is how late a slot that was missed is still run. No slot is given
	// up within leastCatchUp, which a busy machine may need to see it.
	CatchUp time.Duration

	Feed        FeedConfig
	Maintenance MaintenanceConfig

	// Now is the clock of slots, leases and deadlines, which all processes must
	// share. Dates is that of Apple's dates, by which receipts are due: Now,
	// unless the App Store is simulated at another time.
	Now, Dates func() time.Time
	Logger     *slog.Logger
	// Registerer gets the metrics; nil is nobody.
	Registerer prometheus.Registerer
}

// Scheduler opens runs at their slots, and feeds them. Its zero value is of no
// use; see New.
type Scheduler struct {
	cfg     Config
	loops   pulse.Loops
	silent  silentClaims
	metrics metrics

	mu sync.Mutex
	// feeding are the runs that Run feeds. One of them may be found again when
	// Postgres was away for longer than the owner's lease.
	feeding map[int64]bool
}

// leastCatchUp is how late a slot is always still run.
const leastCatchUp = time.Minute

// New checks a Config and fills its defaults.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Store == nil || cfg.Queue == nil || cfg.Owner == "" {
		return nil, errors.New("scheduler: store, queue and owner are needed")
	}
	cfg.Zone = cmp.Or(cfg.Zone, time.UTC)
	cfg.Window = cmp.Or(cfg.Window, 8*time.Hour)
	cfg.CatchUp = max(cfg.CatchUp, leastCatchUp)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dates == nil {
		cfg.Dates = cfg.Now
	}
	cfg.Feed.fill()
	cfg.Maintenance.fill()
	if cfg.Feed.OwnerLease <= 2*cfg.Feed.Tick {
		return nil, fmt.Errorf("scheduler: the owner's lease (%s) must be longer than two ticks (%s)", cfg.Feed.OwnerLease, cfg.Feed.Tick)
	}
	var contested func() bool
	if cfg.Presence != nil {
		contested = cfg.Presence.Contested
	}
	metrics, err := newMetrics(cfg.Registerer, contested)
	if err != nil {
		return nil, err
	}
	return &Scheduler{cfg: cfg, metrics: metrics, feeding: make(map[int64]bool)}, nil
}

// Run opens and feeds runs until ctx ends, and returns when its goroutines
// have. A fault of Postgres or Redis is logged and tried again; it does not end
// the loop. Its error is jobs.ErrNotOwner, once the queue belongs to another
// installation.
func (s *Scheduler) Run(ctx context.Context) error {
	feeds, ctx := errgroup.WithContext(ctx)
	defer func() { _ = feeds.Wait() }()
	feeds.Go(func() error { return s.Attend(ctx) })
	feeds.Go(func() error { s.maintain(ctx); return nil })
	var opened time.Time // the newest slot that is known to have a run
	defer s.loops.End("find runs")
	failing := false
	for ctx.Err() == nil {
		s.loops.Beat("find runs")
		run, found, err := s.next(ctx, &opened)
		if err == nil && failing {
			s.cfg.Logger.Info("runs can be found again")
			failing = false
		}
		switch {
		case err != nil && ctx.Err() == nil:
			s.cfg.Logger.Error("could not find runs", "error", err)
			failing = true
		case found && s.begin(run.ID):
			feeds.Go(func() error {
				defer s.finish(run.ID)
				return s.serve(ctx, run)
			})
			continue
		}
		_ = clock.Sleep(ctx, s.cfg.Feed.Look)
	}
	return feeds.Wait()
}

// Attend says that the scheduler is running until ctx ends, which Run does too: it
// is for those who feed a run of their own. Its error is jobs.ErrNotOwner, once the
// queue belongs to another installation.
func (s *Scheduler) Attend(ctx context.Context) error {
	if s.cfg.Presence == nil {
		return nil
	}
	return s.cfg.Presence.Run(ctx)
}

// Alive fails where a loop of Run or Feed does not move any more. An outage of
// Postgres or Redis does not make it fail.
func (s *Scheduler) Alive(ctx context.Context) error { return s.loops.Check(ctx) }

// begin reports whether a run is not fed yet, and notes that it is.
func (s *Scheduler) begin(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feeding[id] {
		return false
	}
	s.feeding[id] = true
	return true
}

func (s *Scheduler) finish(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeding, id)
}

// serve feeds a run and reports how that ended. Its error ends the scheduler.
func (s *Scheduler) serve(ctx context.Context, run runs.Run) error {
	s.cfg.Logger.Info("run started", "run_id", run.ID, "kind", run.Kind, "scheduled_for", run.ScheduledFor)
	_, err := s.Feed(ctx, run)
	switch {
	case errors.Is(err, jobs.ErrNotOwner):
		return err
	case ctx.Err() != nil:
		if _, err := s.Leave(ctx, run.ID); err != nil {
			s.cfg.Logger.Warn("could not leave the run to others", "run_id", run.ID, "error", err)
		}
	case errors.Is(err, runs.ErrLost):
		s.cfg.Logger.Info("run was ended or taken over by another process", "run_id", run.ID)
	case err != nil:
		s.cfg.Logger.Error("could not feed the run", "run_id", run.ID, "error", err)
	}
	return nil
}

// next is a run for this scheduler to feed: one whose owner died, or the run of
// the last slot where nobody has opened it. It tries each slot once, because
// every try to open a run that is there costs a run's number.
func (s *Scheduler) next(ctx context.Context, opened *time.Time) (runs.Run, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	now := s.cfg.Now()
	run, err := s.cfg.Store.TakeOverRun(ctx, s.lease(now), now)
	if err == nil || !errors.Is(err, database.ErrNotFound) {
		return run, err == nil, err
	}
	slot, due := s.lastSlot(now)
	if !due || slot.Equal(*opened) {
		return runs.Run{}, false, nil
	}
	run, err = s.open(ctx, runs.Nightly, slot)
	if err == nil || errors.Is(err, database.ErrConflict) {
		*opened = slot
	}
	if errors.Is(err, database.ErrConflict) {
		return runs.Run{}, false, nil
	}
	if late := now.Sub(slot); err == nil && late > leastCatchUp {
		s.cfg.Logger.Info("nightly run was missed and is caught up now; REVALIDATOR_CATCH_UP says how late that may be",
			"run_id", run.ID, "scheduled_for", slot, "late", late.Round(time.Second))
	}
	return run, err == nil, err
}

// lastSlot is the newest slot of the schedule that is not later than now, and
// whether it is still worth a run. It comes from the schedule and the clock
// alone, so that a slot that was missed while no scheduler ran is caught up
// once, and two schedulers find the same slot.
func (s *Scheduler) lastSlot(now time.Time) (time.Time, bool) {
	if s.cfg.Schedule == nil {
		return time.Time{}, false
	}
	now = now.In(s.cfg.Zone)
	var last time.Time
	for slot := s.cfg.Schedule.Next(now.Add(-s.cfg.CatchUp)); !slot.IsZero() && !slot.After(now); slot = s.cfg.Schedule.Next(slot) {
		last = slot
	}
	return last.UTC(), !last.IsZero()
}

// Open opens a manual run now, next to whatever is open.
func (s *Scheduler) Open(ctx context.Context) (runs.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	return s.open(ctx, runs.Manual, s.cfg.Now())
}

// OpenOrJoin takes over a nightly or manual run that no process feeds, finds the one
// that another process feeds, or opens a manual run where there is neither.
func (s *Scheduler) OpenOrJoin(ctx context.Context) (run runs.Run, how Joined, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	for {
		now := s.cfg.Now()
		run, err = s.cfg.Store.TakeOverRun(ctx, s.lease(now), now, runs.Nightly, runs.Manual)
		if err == nil && !now.Before(run.Deadline) {
			if _, err = s.cfg.Store.EndRun(ctx, run.ID, runs.CutOff, now); err == nil {
				continue
			}
		}
		if !errors.Is(err, database.ErrNotFound) {
			return run, TookOver, err
		}
		run, err = s.cfg.Store.FedRun(ctx, now)
		if !errors.Is(err, database.ErrNotFound) {
			return run, Attached, err
		}
		run, err = s.cfg.Store.OpenAlone(ctx, s.newRun(runs.Manual, now), s.lease(now), now)
		if !errors.Is(err, database.ErrConflict) {
			return run, Opened, err
		}
		// Somebody else has just opened one.
		if clock.Sleep(ctx, s.cfg.Feed.Tick) != nil {
			return runs.Run{}, "", ctx.Err()
		}
	}
}

// Joined is how a process came to a run.
type Joined string

// The ways to come to a run. One that is Attached another process feeds.
const (
	Opened   Joined = "opened"
	TookOver Joined = "took_over"
	Attached Joined = "attached"
)

func (s *Scheduler) open(ctx context.Context, kind runs.Kind, slot time.Time) (runs.Run, error) {
	now := s.cfg.Now()
	return s.cfg.Store.OpenRun(ctx, s.newRun(kind, slot), s.lease(now), now)
}

func (s *Scheduler) newRun(kind runs.Kind, slot time.Time) runs.Run {
	return runs.Run{
		Kind: kind, ScheduledFor: slot.UTC(), Cutoff: s.cfg.Dates(), Deadline: s.cfg.Now().Add(s.cfg.Window), StartedBy: s.cfg.StartedBy,
	}
}

func (s *Scheduler) lease(now time.Time) runs.Lease {
	return runs.Lease{Owner: s.cfg.Owner, Until: now.Add(s.cfg.Feed.OwnerLease)}
}
