package main

import (
	"context"
	"errors"

	"revalidator/internal/database"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/runs"
)

// startBackfill opens a backfill and feeds it, or leaves it to a scheduler.
func (p *program) startBackfill(ctx context.Context, parts *parts, filter runs.Filter, o backfillOptions) error {
	s, work, err := p.services(ctx, parts, o.worker)
	if err != nil {
		return err
	}
	run, err := s.OpenBackfill(ctx, filter, float64(o.share), o.detach)
	switch {
	case errors.Is(err, database.ErrNotFound):
		return errors.New("no receipt that can be checked meets the filters: no backfill was opened")
	case err != nil && run.ID != 0:
		return interrupted(ctx, s, run, err)
	case err != nil:
		return err
	}
	if err := p.noteMissingIDs(ctx, parts, run.ID, o.filters, len(filter.IDs)); err != nil {
		return err
	}
	return p.goOn(ctx, parts, s, run, true, work, o.feedOptions)
}

// noteMissingIDs says how many of the ids that were given are of no use, where
// nothing else was to be met.
func (p *program) noteMissingIDs(ctx context.Context, parts *parts, id int64, given filterFlags, ids int) error {
	given.ids = ""
	if ids == 0 || !given.none() {
		return nil
	}
	totals, err := parts.db.RunTotals(ctx, id)
	if missing := int64(ids) - totals.Counted(); err == nil && missing > 0 {
		p.Note("%d of %d ids are not ids of receipts that can be checked", missing, ids)
	}
	return err
}

// detached reports a run that is open and that no process feeds yet.
func (p *program) detached(ctx context.Context, parts *parts, id int64) error {
	totals, err := parts.db.RunTotals(ctx, id)
	if err != nil {
		return err
	}
	line := report.NewBackfill(totals, parts.clock.Now())
	return p.PrintLine(line, "%s over %s receipts is open: a scheduler takes it up within seconds", nameOfRun(totals.Run), phrase.CountIf(totals.Due))
}
