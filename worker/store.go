package worker

import (
	"context"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
	"revalidator/internal/secret"
	"revalidator/jobs"
)

// Store is what a worker needs of the repository.
type Store interface {
	// ClaimedReceipts leaves claims out that are gone.
	ClaimedReceipts(ctx context.Context, claims []claim.Key) (map[claim.Key]claim.Receipt, error)
	// SaveOutcomes tells for each outcome what was stored of it.
	SaveOutcomes(ctx context.Context, outcomes []claim.Outcome) ([]claim.Saved, error)
	// Writable fails with database.ErrNotWritable where nothing can be stored now.
	Writable(ctx context.Context) error
	SecretStore
}

// SecretStore is what a worker needs of the repository for the secrets of apps.
type SecretStore interface {
	SharedSecrets(ctx context.Context, bundleID string) ([]apps.SharedSecret, error)
	MarkSharedSecret(ctx context.Context, id int64, accepted bool, at time.Time) error
	PauseApp(ctx context.Context, bundleID, reason string, at time.Time) (changed bool, err error)
	ResumeForSecret(ctx context.Context, bundleID string) (changed bool, err error)
	// ClaimProbe fails with database.ErrNotFound where no paused app has a secret
	// to try.
	ClaimProbe(ctx context.Context, now time.Time, retry, recheck time.Duration) (apps.App, error)
	// ProbeReceipts are receipts of an app to try a secret with.
	ProbeReceipts(ctx context.Context, bundleID string) ([]claim.Receipt, error)
}

// ClockStore is what a worker needs of the repository for what replies say of
// the time.
type ClockStore interface {
	EndpointClocks(ctx context.Context) ([]clock.Endpoint, error)
	// ClockDiffered says wrong to the one caller whose reply makes the clock
	// wrong, and ClockAgreed over to the one whose probe ends that, at a time of
	// Config.Dates.
	ClockDiffered(ctx context.Context, e iap.Environment, r clock.Reply, alone bool) (c clock.Endpoint, wrong bool, err error)
	ClockAgreed(ctx context.Context, e iap.Environment, at time.Time, probe bool) (c clock.Endpoint, over bool, err error)
	ClaimClockProbe(ctx context.Context, e iap.Environment, now time.Time) (bool, error)
}

// Limiter is the budget of calls that all workers share, with its breaker.
type Limiter interface {
	Wait(ctx context.Context, key string, rate ratelimit.Rate) (ratelimit.Slot, error)
	Report(ctx context.Context, key string, s ratelimit.Slot, heard ratelimit.Signal, why string) (ratelimit.Verdict, error)
	Block(ctx context.Context, key string, d time.Duration) error
}

// Queue tells whose tasks are on the queue.
type Queue interface {
	// Mine reports whether a task is of this worker's installation. It fails with
	// jobs.ErrNotOwner where the queue belongs to another one.
	Mine(ctx context.Context, v jobs.Verify) (bool, error)
}

// Presence says that the worker is running.
type Presence interface {
	// Run does so until ctx ends. It fails with jobs.ErrNotOwner.
	Run(ctx context.Context) error
}

// Keys opens what is encrypted at rest.
type Keys interface {
	Open(ciphertext []byte, row string) (secret.Value, error)
}
