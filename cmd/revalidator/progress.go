package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/stores"
	"revalidator/internal/terminal"
)

// watchEvery is how often the progress of a run is read.
const watchEvery = 500 * time.Millisecond

// patience is how long a run may stand still before its workers are missed: one
// that is starting should not be called missing.
const patience = 5 * time.Second

// watch shows the progress of a run until ctx ends.
func (p *program) watch(ctx context.Context, parts *parts, id int64) {
	bar := p.Bar(fmt.Sprintf("run %d", id), "receipts")
	missing := &missingWorkers{since: time.Now()}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		// The last look comes after ctx has ended, so that the bar ends where
		// the run has.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), stores.ReachTimeout)
		totals, err := parts.db.RunTotals(look, id)
		if err == nil {
			err = showProgress(look, parts, bar, totals, time.Since(missing.since) >= patience)
		}
		cancel()
		if err == nil && ctx.Err() == nil && missing.due(totals, time.Now()) {
			bar.Clear()
			p.warnWithoutWorkers(parts)
		}
		if ctx.Err() != nil {
			bar.End()
			return
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// showProgress draws the bar: without a time left, where all that is left waits for a
// retry, or where the run stands still.
func showProgress(ctx context.Context, parts *parts, bar *terminal.Bar, t runs.Totals, still bool) error {
	if t.Due == nil || t.InRun == nil {
		return nil
	}
	waiting, err := parts.db.RunWaiting(ctx, t.ID)
	if err != nil {
		return err
	}
	bar.Show(*t.Due-*t.InRun, *t.Due)
	switch {
	case waiting.Receipts > 0 && waiting.Receipts >= *t.InRun:
		bar.Stand(report.WaitingText(waiting))
	case still && *t.InRun > 0:
		bar.Stand("")
	default:
		bar.Move()
	}
	return nil
}

// missingWorkers finds out once whether a run has stood still for too long.
type missingWorkers struct {
	since time.Time // of the last progress
	done  int64
	told  bool
}

func (m *missingWorkers) due(t runs.Totals, now time.Time) bool {
	if t.Done > m.done || t.Due == nil {
		m.since, m.done = now, t.Done
	}
	if m.told || t.InRun != nil && *t.InRun == 0 || now.Sub(m.since) < patience {
		return false
	}
	m.told = true
	return true
}

// warnWithoutWorkers says what is missing where nobody would do the work.
func (p *program) warnWithoutWorkers(parts *parts) {
	servers, err := asynq.NewInspectorFromRedisClient(parts.redis).Servers()
	if err == nil && len(servers) == 0 {
		p.Note("no worker is running: start one with 'revalidator worker' in another terminal;\nthe run continues as soon as there is one")
	}
}
