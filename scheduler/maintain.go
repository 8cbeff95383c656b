package scheduler

import (
	"cmp"
	"context"
	"time"

	"revalidator/internal/clock"
)

// MaintenanceConfig says which old rows are deleted, by the one scheduler of several
// that leads.
type MaintenanceConfig struct {
	// Store is where they are; nil deletes nothing.
	Store Pruner
	// RunItems, RunFailures, Runs and Events are how long rows are kept: what a run has
	// left unchecked, its failures by class, its figures, and events; 0 is for ever.
	// What hangs on a run goes with it at the latest.
	RunItems, RunFailures, Runs, Events time.Duration
	// Every is the time between two rounds, 5 min by default; a batch is of Batch rows,
	// 1,000, and Pause leaves Postgres time between two of them, 100 ms.
	Every, Pause time.Duration
	Batch        int
}

func (c *MaintenanceConfig) fill() {
	c.Every = cmp.Or(c.Every, 5*time.Minute)
	c.Pause = cmp.Or(c.Pause, 100*time.Millisecond)
	c.Batch = cmp.Or(c.Batch, 1000)
}

// maintenanceLease is how long maintenance waits for a scheduler that died. It is
// renewed before each batch, and longer than one takes.
const maintenanceLease = roundTimeout + time.Minute

// maintenance is the name of the loop.
const maintenance = "delete old rows"

// maintain deletes old rows until ctx ends, while this scheduler leads.
func (s *Scheduler) maintain(ctx context.Context) {
	if s.cfg.Maintenance.Store == nil {
		return
	}
	defer s.loops.End(maintenance)
	for ctx.Err() == nil {
		if err := s.pruneAll(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("could not delete old rows", "error", err)
		}
		_ = clock.Sleep(ctx, s.cfg.Maintenance.Every)
	}
}

// pruneAll deletes what is old, table by table. Runs come after what hangs on them.
func (s *Scheduler) pruneAll(ctx context.Context) error {
	m := s.cfg.Maintenance
	for _, t := range []struct {
		table string
		keep  time.Duration
	}{
		{"run_items", m.RunItems}, {"run_failures", m.RunFailures}, {"runs", m.Runs}, {"subscription_events", m.Events},
	} {
		total := int64(0)
		for t.keep > 0 && ctx.Err() == nil {
			n, err := s.pruneBatch(ctx, t.table, t.keep)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			total += n
			s.metrics.pruned.WithLabelValues(t.table).Add(float64(n))
			_ = clock.Sleep(ctx, m.Pause)
		}
		if total > 0 {
			s.cfg.Logger.Info("old rows deleted", "table", t.table, "rows", total, "older_than", t.keep)
		}
	}
	return nil
}

// pruneBatch deletes a batch, and nothing where another scheduler leads or the clock
// is not certain, which is asked before each.
func (s *Scheduler) pruneBatch(ctx context.Context, table string, keep time.Duration) (int64, error) {
	s.loops.Beat(maintenance)
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	store, now := s.cfg.Maintenance.Store, s.cfg.Now()
	lease := s.lease(now)
	lease.Until = now.Add(maintenanceLease)
	if led, err := store.LeadMaintenance(ctx, lease, now); err != nil || !led {
		return 0, err
	}
	at, known, err := store.PruneTime(ctx, now)
	if err != nil || !known {
		return 0, err
	}
	before := at.Add(-keep)
	if table == "runs" {
		if err := s.endAbandoned(ctx, before); err != nil {
			return 0, err
		}
	}
	return store.Prune(ctx, table, before, s.cfg.Maintenance.Batch)
}

// endAbandoned cancels backfills that nobody has resumed for as long as runs are kept.
func (s *Scheduler) endAbandoned(ctx context.Context, before time.Time) error {
	ids, err := s.cfg.Maintenance.Store.AbandonedBackfills(ctx, before)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.cfg.Maintenance.Store.CancelRun(ctx, id, s.cfg.Now()); err != nil {
			return err
		}
		s.cfg.Logger.Info("backfill cancelled: it was not resumed for as long as runs are kept", "run_id", id)
	}
	return nil
}
