package main

import (
	"context"
	"time"

	"revalidator/internal/ledger"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// runLine is a run with its figures and its progress.
type runLine struct {
	ledger.RunTotals
	ElapsedSeconds float64 `json:"elapsed_seconds"`
	// Fed is false for a run that is running and that no process feeds.
	Fed bool `json:"fed"`
	// Progress is nil once the run has ended.
	Progress *progress `json:"progress"`
}

// runReport is what became of a run.
type runReport struct {
	runLine
	Apps     []repository.RunApp       `json:"apps"`
	Events   []repository.EventCount   `json:"events"`
	Failures []repository.FailureCount `json:"failures"`
}

// runReport looks at one run. Its error is ledger.ErrNotFound where there is
// none.
func (s *parts) runReport(ctx context.Context, id int64, known *paces, now time.Time) (*runReport, error) {
	totals, err := s.db.RunTotals(ctx, id)
	if err != nil {
		return nil, err
	}
	apps, err := s.db.RunApps(ctx, id)
	if err != nil {
		return nil, err
	}
	events, err := s.db.RunEvents(ctx, id)
	if err != nil {
		return nil, err
	}
	failures, err := s.db.RunFailures(ctx, id)
	if err != nil {
		return nil, err
	}
	return &runReport{
		runLine: newRunLine(totals, apps, known, now),
		Apps:    list(apps), Events: list(events), Failures: list(failures),
	}, nil
}

// newRunLine is a run as it is now; its apps tell the pace of one that is
// running.
func newRunLine(t ledger.RunTotals, apps []repository.RunApp, known *paces, now time.Time) runLine {
	line := runLine{RunTotals: t, ElapsedSeconds: elapsed(t, now).Seconds(), Fed: true}
	if t.State == ledger.RunRunning {
		known.note(t.ID, now, apps)
		line.Fed = t.OwnerUntil.After(now)
		line.Progress = known.progress(t, apps, now)
	}
	return line
}

// list is a list that is [] in JSON where it is empty.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func (r *runReport) missing() error { return nil }

func (r *runReport) text(out *terminal.Page) { runText(out, *r) }
