package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"revalidator/internal/ledger"
	"revalidator/scheduler"
)

// startBackfill opens a backfill and feeds it, or leaves it to a scheduler.
func (p *program) startBackfill(ctx context.Context, parts *parts, filter ledger.Filter, o backfillOptions) error {
	s, work, err := p.services(ctx, parts, o.worker)
	if err != nil {
		return err
	}
	run, err := s.OpenBackfill(ctx, filter, float64(o.share), o.detach)
	if errors.Is(err, ledger.ErrNotFound) {
		return errors.New("no receipt that Apple can be asked about meets the filters: nothing was opened")
	}
	if err != nil {
		return err
	}
	if err := p.noteMissingIDs(ctx, parts, run.ID, o.filters, len(filter.IDs)); err != nil {
		return err
	}
	return p.goOn(ctx, parts, s, run, work, o.feedOptions)
}

// noteMissingIDs says how many of the ids that were given are of no use, where
// nothing else was to be met.
func (p *program) noteMissingIDs(ctx context.Context, parts *parts, id int64, given filterFlags, ids int) error {
	given.ids = ""
	if ids == 0 || !given.none() {
		return nil
	}
	totals, err := parts.db.RunTotals(ctx, id)
	if missing := int64(ids) - totals.Due; err == nil && missing > 0 {
		p.note("%d of %d ids are no receipts that Apple can be asked about", missing, ids)
	}
	return err
}

// goOn feeds a backfill until it ends, or leaves it to a scheduler.
func (p *program) goOn(ctx context.Context, parts *parts, s *scheduler.Scheduler, run ledger.Run, work func(context.Context) error, o feedOptions) error {
	if o.detach {
		return p.detached(ctx, parts, run.ID)
	}
	totals, err := p.feed(ctx, parts, s, run, work)
	switch {
	case errors.Is(err, scheduler.ErrRunLost):
		return parts.lostBackfill(ctx, run.ID)
	case err != nil:
		return interrupted(ctx, s, run.ID, err)
	}
	err = p.summarize(ctx, parts, totals)
	if totals.State == ledger.RunInterrupted {
		err = fmt.Errorf("an app was paused, its receipts are left: 'revalidator status' names it; then go on with 'revalidator backfill resume %d'", run.ID)
	}
	return err
}

// detached tells of a backfill that is open and that nobody feeds yet.
func (p *program) detached(ctx context.Context, parts *parts, id int64) error {
	totals, err := parts.db.RunTotals(ctx, id)
	if err != nil {
		return err
	}
	line := newBackfillLine(totals, parts.now())
	return p.printer().print(line, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "backfill %d over %s receipts is open: a scheduler takes it up within seconds\n", id, count(totals.Due))
		return err
	})
}

// interrupted leaves a backfill to be resumed. Its error says how.
func interrupted(ctx context.Context, s *scheduler.Scheduler, id int64, cause error) error {
	resume := fmt.Sprintf("go on with 'revalidator backfill resume %d'", id)
	if ctx.Err() == nil {
		resume = fmt.Sprintf("%v\n%s", cause, resume)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachTimeout)
	defer cancel()
	if _, err := s.InterruptBackfill(ctx, id); err != nil {
		return fmt.Errorf("backfill %d interrupted, which could not be noted (%w): a scheduler takes it over, or %s", id, err, resume)
	}
	return fmt.Errorf("backfill %d interrupted: workers finish what they have; %s", id, resume)
}

// lostBackfill says why a backfill is not fed here any more.
func (s *parts) lostBackfill(ctx context.Context, id int64) error {
	totals, err := s.db.RunTotals(ctx, id)
	switch {
	case err != nil:
		return err
	case totals.State == ledger.RunRunning:
		return fmt.Errorf("backfill %d goes on in another process, which took it over: see 'revalidator status'", id)
	}
	return fmt.Errorf("backfill %d is %s: %s of %s receipts were done", id, totals.State, count(totals.Done), count(totals.Due))
}
