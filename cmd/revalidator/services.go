package main

import (
	"context"
	"log/slog"

	"revalidator/internal/terminal"
	"revalidator/jobs"
	"revalidator/scheduler"
)

// services are what a command needs that feeds a run of its own: a scheduler,
// and the work that goes on in this process next to it, which is none without
// withWorker.
func (p *program) services(ctx context.Context, parts *parts, withWorker bool) (*scheduler.Scheduler, func(context.Context) error, error) {
	if p.Quiet || terminal.IsTerminal(p.Err) {
		// The bar tells it better than lines of the log between its strokes.
		quieter := parts.cfg.Log
		quieter.Level = max(quieter.Level, slog.LevelWarn)
		parts.log = p.logger(quieter)
	}
	if err := parts.db.Writable(ctx); err != nil {
		return nil, nil, err
	}
	if err := parts.ownQueue(ctx); err != nil {
		return nil, nil, err
	}
	s, err := parts.scheduler(nil, jobs.KindRun)
	if err != nil || !withWorker {
		return s, func(context.Context) error { return nil }, err
	}
	if err := parts.keysFitAll(ctx); err != nil {
		return nil, nil, err
	}
	w, err := parts.worker(nil)
	if err != nil {
		return nil, nil, err
	}
	return s, w.Run, nil
}
