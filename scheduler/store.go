package scheduler

import (
	"context"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

// Store is what the scheduler needs of the repository.
type Store interface {
	// OpenRun fails with database.ErrConflict where the slot is opened already, and
	// OpenAlone where any nightly or manual run is open. FedRun is the newest of
	// these that a process feeds.
	OpenRun(ctx context.Context, run runs.Run, owner runs.Lease, now time.Time) (runs.Run, error)
	OpenAlone(ctx context.Context, run runs.Run, owner runs.Lease, now time.Time) (runs.Run, error)
	FedRun(ctx context.Context, now time.Time) (runs.Run, error)
	// TakeOverRun fails with database.ErrNotFound where every running run of some
	// kinds, or of any, has a living owner; ResumeRun where one run has, or has ended
	// for good.
	TakeOverRun(ctx context.Context, owner runs.Lease, now time.Time, kinds ...runs.Kind) (runs.Run, error)
	ResumeRun(ctx context.Context, id int64, owner runs.Lease, deadline, now time.Time) (runs.Run, error)
	KeepRun(ctx context.Context, id int64, owner runs.Lease) (kept bool, err error)
	EndRun(ctx context.Context, id int64, state runs.State, now time.Time) (changed bool, err error)
	CountRun(ctx context.Context, run runs.Run, now time.Time) error
	HasWork(ctx context.Context, run runs.Run, now time.Time) (bool, error)
	RunTotals(ctx context.Context, id int64) (runs.Totals, error)

	// OpenBackfill, ChooseItems, ClaimItems and HasItems do for a backfill what
	// OpenRun, CountRun, Claim and HasWork do for other runs.
	OpenBackfill(ctx context.Context, run runs.Run, f runs.Filter, owner runs.Lease, now time.Time) (runs.Run, error)
	ChooseItems(ctx context.Context, id int64, now time.Time) error
	// DropEmpty removes a backfill that has chosen nothing.
	DropEmpty(ctx context.Context, id int64) (dropped bool, err error)
	ClaimItems(ctx context.Context, r claim.Request) ([]claim.Claim, error)
	HasItems(ctx context.Context, run runs.Run) (bool, error)
	// EndBackfill keeps one to be resumed that has receipts of paused apps left.
	EndBackfill(ctx context.Context, run runs.Run, now time.Time) (changed bool, err error)
	InterruptBackfill(ctx context.Context, id int64, owner string, now time.Time) (changed bool, err error)

	// Claim and ClaimItems fail with runs.ErrLost where the run has ended or
	// has another owner.
	Claim(ctx context.Context, r claim.Request) ([]claim.Claim, error)
	ClaimedCount(ctx context.Context) (claim.Held, error)
	ReleaseExpired(ctx context.Context, now time.Time) (int64, error)
	// ClaimsBefore are claims that were made before a time, with a lease, and have
	// not ended.
	ClaimsBefore(ctx context.Context, made time.Time, lease time.Duration, limit int) ([]claim.Claim, error)
	FollowEpoch(ctx context.Context, read func(context.Context) (string, error)) (claim.Followed, error)
}

// Pruner is what maintenance needs of the repository.
type Pruner interface {
	// LeadMaintenance makes this the one scheduler that deletes.
	LeadMaintenance(ctx context.Context, owner runs.Lease, now time.Time) (led bool, err error)
	// PruneTime is from when age counts, where that is known.
	PruneTime(ctx context.Context, now time.Time) (at time.Time, known bool, err error)
	Prune(ctx context.Context, table string, before time.Time, limit int) (deleted int64, err error)
	AbandonedBackfills(ctx context.Context, before time.Time) ([]int64, error)
	CancelRun(ctx context.Context, id int64, now time.Time) (changed bool, err error)
}

// Budgets is what the scheduler needs of the rate limiter.
type Budgets interface {
	// Shares are the parts of the rates that are in force, where that is not all
	// of it, by Budget.String.
	Shares(ctx context.Context) (map[string]float64, error)
}

// Clocks is what the scheduler needs to know of Apple's time.
type Clocks interface {
	// EndpointClocks are the endpoints whose replies differ from the clock.
	EndpointClocks(ctx context.Context) ([]clock.Endpoint, error)
}

// Queue is what the scheduler needs of jobs.
type Queue interface {
	Enqueue(ctx context.Context, tasks []jobs.Verify) error
	// Epoch fails with jobs.ErrNotOwner where the queue belongs to another
	// installation.
	Epoch(ctx context.Context) (string, error)
	// Missing are those of the tasks of which the queue shows no sign.
	Missing(ctx context.Context, tasks []jobs.Verify) ([]jobs.Verify, error)
}

// Presence says that this scheduler is running.
type Presence interface {
	// Run does so until ctx ends. It fails with jobs.ErrNotOwner.
	Run(ctx context.Context) error
	// Contested reports whether two copies of the database use the queue.
	Contested() bool
}
