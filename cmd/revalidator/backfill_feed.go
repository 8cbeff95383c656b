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
		return errNothingChosen
	case err != nil && run.ID != 0:
		return interrupted(ctx, s, run, err)
	case err != nil:
		return err
	}
	totals, err := parts.db.RunTotals(ctx, run.ID)
	if err != nil {
		return err
	}
	p.noteMissingIDs(totals.Counted(), o.filters, len(filter.IDs))
	return p.goOn(ctx, parts, s, run, true, work, o.feedOptions)
}

// errNothingChosen is what a backfill and its dry run say where there is nothing to do.
var errNothingChosen = errors.New("no receipt that can be checked meets the filters: no backfill was opened")

// noteMissingIDs says how many of the ids that were given are left out, where nothing
// else was to be met.
func (p *program) noteMissingIDs(chosen int64, given filterFlags, ids int) {
	given.ids = ""
	if missing := int64(ids) - chosen; ids > 0 && given.none() && missing > 0 {
		p.Note("%d of %d ids are of receipts that cannot be checked", missing, ids)
	}
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
