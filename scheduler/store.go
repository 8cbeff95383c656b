package scheduler

import (
	"context"
	"time"

	"revalidator/internal/ledger"
	"revalidator/jobs"
)

// Store is what the scheduler needs of the repository.
type Store interface {
	// OpenRun fails with ledger.ErrConflict where the slot is opened already.
	OpenRun(ctx context.Context, run ledger.Run, owner ledger.Lease, now time.Time) (ledger.Run, error)
	// TakeOverRun fails with ledger.ErrNotFound where every running run has a
	// living owner.
	TakeOverRun(ctx context.Context, owner ledger.Lease, now time.Time) (ledger.Run, error)
	KeepRun(ctx context.Context, id int64, owner ledger.Lease) (kept bool, err error)
	EndRun(ctx context.Context, id int64, state ledger.RunState, now time.Time) error
	HasWork(ctx context.Context, run ledger.Run, now time.Time) (bool, error)
	RunTotals(ctx context.Context, id int64) (ledger.RunTotals, error)

	// OpenBackfill, ClaimItems and HasItems do for a backfill what OpenRun,
	// Claim and HasWork do for other runs.
	OpenBackfill(ctx context.Context, run ledger.Run, f ledger.Filter, owner ledger.Lease, now time.Time) (ledger.Run, error)
	ClaimItems(ctx context.Context, r ledger.ClaimRequest) ([]ledger.Claim, error)
	HasItems(ctx context.Context, run ledger.Run, now time.Time) (bool, error)
	// EndBackfill keeps one to be resumed that has receipts of paused apps left.
	EndBackfill(ctx context.Context, run ledger.Run, now time.Time) error
	InterruptBackfill(ctx context.Context, id int64, owner string, now time.Time) (changed bool, err error)
	// ResumeRun fails with ledger.ErrNotFound where there is nothing to resume.
	ResumeRun(ctx context.Context, id int64, owner ledger.Lease, deadline, now time.Time) (ledger.Run, error)

	Claim(ctx context.Context, r ledger.ClaimRequest) ([]ledger.Claim, error)
	ClaimedCount(ctx context.Context) (ledger.Held, error)
	ReleaseExpired(ctx context.Context, now time.Time) (int64, error)
	FollowEpoch(ctx context.Context, epoch string) (released int64, changed bool, err error)
}

// Budgets is what the scheduler needs of the rate limiter.
type Budgets interface {
	// Shares are the parts of the rates that are in force, where that is not all
	// of it, by ledger.Budget.String.
	Shares(ctx context.Context) (map[string]float64, error)
}

// Clocks is what the scheduler needs to know of Apple's time.
type Clocks interface {
	// EndpointClocks are the endpoints whose replies differ from the clock.
	EndpointClocks(ctx context.Context) ([]ledger.EndpointClock, error)
}

// Queue is what the scheduler needs of jobs.
type Queue interface {
	Enqueue(ctx context.Context, tasks []jobs.Verify) error
	Epoch(ctx context.Context) (string, error)
	// Beat and Leave say that this scheduler is at work, and no longer.
	Beat(ctx context.Context, scheduler string) error
	Leave(ctx context.Context, scheduler string) error
}
