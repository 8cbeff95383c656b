package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/database"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// RunLine is a run with its figures and its Progress.
type RunLine struct {
	runs.Totals
	ElapsedSeconds float64 `json:"elapsed_seconds"`
	// Fed is false for a run that is running and that no process feeds.
	Fed bool `json:"fed"`
	// Progress is nil once the run has ended.
	Progress *Progress `json:"progress"`
}

// Run is the result of a run.
type Run struct {
	RunLine
	Apps     []repository.RunApp       `json:"apps"`
	Events   []repository.EventCount   `json:"events"`
	Failures []repository.FailureCount `json:"failures"`
}

// RunStore is what the read model of a run needs.
type RunStore interface {
	// RunTotals fails with database.ErrNotFound where there is no such run.
	RunTotals(ctx context.Context, id int64) (runs.Totals, error)
	RunApps(ctx context.Context, id int64) ([]repository.RunApp, error)
	RunEvents(ctx context.Context, id int64) ([]repository.EventCount, error)
	RunFailures(ctx context.Context, id int64) ([]repository.FailureCount, error)
	waitingStore
}

// waitingStore has what waits in a run.
type waitingStore interface {
	RunWaiting(ctx context.Context, id int64) (repository.Waiting, error)
}

// ReadRun reads one run. Its error says where to look if there is none.
func ReadRun(ctx context.Context, store RunStore, id int64, known *Paces, now time.Time) (*Run, error) {
	totals, err := store.RunTotals(ctx, id)
	if err != nil {
		return nil, noRun(err, id)
	}
	r := new(Run)
	if r.Apps, err = store.RunApps(ctx, id); err != nil {
		return nil, err
	}
	if r.Events, err = store.RunEvents(ctx, id); err != nil {
		return nil, err
	}
	if r.Failures, err = store.RunFailures(ctx, id); err != nil {
		return nil, err
	}
	if r.RunLine, err = readRunLine(ctx, store, totals, r.Apps, known, now); err != nil {
		return nil, err
	}
	r.Apps, r.Events, r.Failures = list(r.Apps), list(r.Events), list(r.Failures)
	return r, nil
}

// noRun says where runs are listed, where err is that there is none with an id.
func noRun(err error, id int64) error {
	if errors.Is(err, database.ErrNotFound) {
		return fmt.Errorf("no run %d: see 'revalidator status' for the last ones", id)
	}
	return err
}

// readRunLine is a run as it is now; its apps show the pace of one that is running.
func readRunLine(ctx context.Context, store waitingStore, t runs.Totals, apps []repository.RunApp, known *Paces, now time.Time) (RunLine, error) {
	line := RunLine{Totals: t, ElapsedSeconds: Elapsed(t, now).Seconds(), Fed: true}
	if t.State != runs.Running {
		return line, nil
	}
	waiting, err := store.RunWaiting(ctx, t.ID)
	if err != nil {
		return line, err
	}
	known.note(t.ID, now, apps)
	line.Fed = t.OwnerUntil.After(now)
	line.Progress = known.progress(t, waiting, apps, now)
	return line, nil
}

// Elapsed is how long a run has taken until now, or took.
func Elapsed(t runs.Totals, now time.Time) time.Duration {
	if t.FinishedAt != nil {
		now = *t.FinishedAt
	}
	return now.Sub(t.StartedAt)
}
