package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"revalidator/internal/runs"
)

// fakePruner has old rows, by table, of which each batch deletes some.
type fakePruner struct {
	rows  map[string]int64
	leads func() bool
	known func() bool
	fail  error

	steps     []string
	unbounded int
	abandoned []int64
}

func (p *fakePruner) LeadMaintenance(ctx context.Context, owner runs.Lease, now time.Time) (bool, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		p.unbounded++
	}
	if owner.Owner == "" || !owner.Until.After(now.Add(roundTimeout)) {
		return false, errors.New("a lease that ends before its batch")
	}
	return p.leads == nil || p.leads(), p.fail
}

func (p *fakePruner) PruneTime(_ context.Context, now time.Time) (time.Time, bool, error) {
	return now.Add(-time.Hour), p.known == nil || p.known(), nil
}

func (p *fakePruner) Prune(_ context.Context, table string, before time.Time, limit int) (int64, error) {
	n := min(p.rows[table], int64(limit))
	p.rows[table] -= n
	p.steps = append(p.steps, fmt.Sprintf("%s before %s: %d", table, before.Format(time.DateTime), n))
	return n, nil
}

func (p *fakePruner) AbandonedBackfills(context.Context, time.Time) ([]int64, error) {
	return p.abandoned, nil
}

func (p *fakePruner) CancelRun(_ context.Context, id int64, _ time.Time) (bool, error) {
	p.steps, p.abandoned = append(p.steps, fmt.Sprintf("cancel %d", id)), nil
	return true, nil
}

const dayLong = 24 * time.Hour

// TestMaintenance deletes what is old in batches, what hangs on runs before these,
// and nothing that is kept for ever. Age counts from the time that the store gives.
func TestMaintenance(t *testing.T) {
	pruner := &fakePruner{rows: map[string]int64{"run_items": 25, "runs": 3, "subscription_events": 100}, abandoned: []int64{7}}
	reg := prometheus.NewRegistry()
	change := func(c *Config) {
		c.Registerer = reg
		c.Maintenance = MaintenanceConfig{Store: pruner, RunItems: dayLong, RunFailures: 2 * dayLong, Runs: 3 * dayLong, Batch: 10}
	}
	inBubble(t, 0, change, func(t *testing.T, b bubble) {
		b.runFor(t, 4*time.Minute)
		want := []string{
			"run_items before 1999-12-30 23:00:00: 10", "run_items before 1999-12-30 23:00:00: 10",
			"run_items before 1999-12-30 23:00:00: 5", "run_items before 1999-12-30 23:00:00: 0",
			"run_failures before 1999-12-29 23:00:00: 0",
			"cancel 7", "runs before 1999-12-28 23:00:00: 3", "runs before 1999-12-28 23:00:00: 0",
		}
		if diff := gocmp.Diff(want, pruner.steps); diff != "" {
			t.Errorf("steps (-want +got)\n%s", diff)
		}
		if got := testutil.ToFloat64(b.metrics.pruned.WithLabelValues("run_items")); got != 25 {
			t.Errorf("the metric counts %v rows of run_items, want 25", got)
		}
		if n, err := testutil.GatherAndCount(reg, "revalidator_pruned_rows_total"); err != nil || n != 2 {
			t.Errorf("%d series of the metric, %v; want one for each table of which rows were deleted", n, err)
		}
		if pruner.unbounded > 0 {
			t.Errorf("%d calls without a deadline", pruner.unbounded)
		}
	})
}

// TestNothingIsDeleted while another scheduler leads, or the clock is in doubt: also
// where that begins between two batches.
func TestNothingIsDeleted(t *testing.T) {
	for name, spoil := range map[string]func(p *fakePruner, asked func() bool){
		"another one leads":     func(p *fakePruner, asked func() bool) { p.leads = asked },
		"the clock is in doubt": func(p *fakePruner, asked func() bool) { p.known = asked },
	} {
		for _, batches := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s after %d batches", name, batches), func(t *testing.T) {
				pruner := &fakePruner{rows: map[string]int64{"subscription_events": 100}}
				times := 0
				spoil(pruner, func() bool { times++; return times <= batches })
				change := func(c *Config) { c.Maintenance = MaintenanceConfig{Store: pruner, Events: dayLong, Batch: 10} }
				inBubble(t, 0, change, func(t *testing.T, b bubble) {
					b.runFor(t, time.Hour)
					if got := len(pruner.steps); got != batches {
						t.Errorf("%d batches were deleted, want %d: %v", got, batches, pruner.steps)
					}
				})
			})
		}
	}
}

// TestMaintenanceOutlivesFaults is told of, and tried again.
func TestMaintenanceOutlivesFaults(t *testing.T) {
	pruner := &fakePruner{rows: map[string]int64{"runs": 1}, fail: errAway}
	change := func(c *Config) { c.Maintenance = MaintenanceConfig{Store: pruner, Runs: dayLong} }
	inBubble(t, 0, change, func(t *testing.T, b bubble) {
		b.runFor(t, 11*time.Minute)
		if got := len(b.log.at(slog.LevelError)); got != 3 {
			t.Errorf("%d errors logged in three rounds, want 3", got)
		}
		pruner.fail = nil
		b.runFor(t, time.Minute)
		if pruner.rows["runs"] != 0 {
			t.Error("nothing was deleted afterwards")
		}
	})
}
