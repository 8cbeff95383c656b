package repository_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// oldRows are a run that ended a day ago, one that ended an hour ago, one that goes
// on and a backfill that was interrupted, each with an item, a failure and an event.
const oldRows = `
	INSERT INTO runs (id, kind, scheduled_for, cutoff, deadline, state, started_at, finished_at, owner, owner_until) OVERRIDING SYSTEM VALUE
	SELECT id, 'backfill', at, at, at, state, at, CASE WHEN state <> 'running' THEN at END, 'test', at
	FROM (VALUES (101, timestamptz '2026-02-28 12:00Z', 'cancelled'), (102, '2026-03-01 11:00Z', 'cut_off'),
	             (103, '2026-02-28 12:00Z', 'running'), (104, '2026-02-28 12:00Z', 'interrupted')) r(id, at, state);
	INSERT INTO run_apps (run_id, bundle_id) SELECT id, 'com.example.reader' FROM runs WHERE id > 100;
	INSERT INTO run_items (run_id, bundle_id, receipt_id) SELECT id, 'com.example.reader', n FROM runs, generate_series(1, 3) n WHERE id > 100;
	INSERT INTO run_failures (run_id, bundle_id, class, answers) SELECT id, 'com.example.reader', 'timeout', 1 FROM runs WHERE id > 100;
	INSERT INTO subscription_events (type, bundle_id, environment, original_transaction_id, transaction_id, product_id, after, as_of, recorded_at, run_id)
	SELECT 'renewed', 'com.example.reader', 'Production', '1', '1', 'monthly', '{}', started_at, started_at, id FROM runs WHERE id > 100 ORDER BY started_at, id`

// TestPrune deletes what is older than six hours, in batches of two.
func TestPrune(t *testing.T) {
	f := openRaw(t)
	_, err := f.raw.ExecContext(t.Context(), oldRows)
	f.must(err)
	left := func(table string) (left [4]int64) {
		column := map[string]string{"runs": "id"}[table]
		if column == "" {
			column = "run_id"
		}
		for i := range left {
			left[i] = f.number(`SELECT count(*) FROM `+table+` WHERE `+column+` = $1`, 101+i)
		}
		return left
	}
	before := noon.Add(-6 * time.Hour)
	for _, step := range []struct {
		table string
		want  []int64 // that each call deletes
		left  [4]int64
	}{
		{"runs", []int64{0}, [4]int64{1, 1, 1, 1}}, // not before its items
		{"run_items", []int64{2, 1, 0}, [4]int64{0, 3, 3, 3}},
		{"run_failures", []int64{1, 0}, [4]int64{0, 1, 1, 1}},
		{"runs", []int64{1, 0}, [4]int64{0, 1, 1, 1}},
		{"subscription_events", []int64{2, 1, 0}, [4]int64{0, 1, 0, 0}},
	} {
		for i, want := range step.want {
			got, err := f.Prune(t.Context(), step.table, before, 2)
			f.must(err)
			if got != want {
				t.Errorf("%s: call %d deleted %d, want %d", step.table, i+1, got, want)
			}
		}
		if got := left(step.table); got != step.left {
			t.Errorf("%s: left of the four runs %v, want %v", step.table, got, step.left)
		}
	}
	if left := f.number(`SELECT count(*) FROM run_apps WHERE run_id = 101`); left != 0 {
		t.Errorf("%d figures are left of a run that is gone", left)
	}
	if _, err := f.Prune(t.Context(), "receipts", noon, 2); err == nil {
		t.Error("receipts became old")
	}
	ids, err := f.AbandonedBackfills(t.Context(), before)
	f.must(err)
	if diff := cmp.Diff([]int64{104}, ids); diff != "" {
		t.Errorf("abandoned backfills (-want +got)\n%s", diff)
	}
}

// TestRunWithClaimsIsKept has workers that are still at a run which ended long ago.
func TestRunWithClaimsIsKept(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	c := f.claim(run, 1)[0]
	f.end(run, runs.CutOff)
	for _, want := range []int64{0, 1} {
		got, err := f.Prune(t.Context(), "runs", noon.Add(day), 10)
		f.must(err)
		if got != want {
			t.Errorf("deleted %d, want %d", got, want)
		}
		f.save(success(c, run, noon))
	}
}

// TestPruneTime is from when age counts.
func TestPruneTime(t *testing.T) {
	f := open(t)
	f.receipts(app, 2)
	at := func() (time.Time, bool) {
		t.Helper()
		at, known, err := f.PruneTime(t.Context(), noon)
		f.must(err)
		return at, known
	}
	if _, known := at(); known {
		t.Error("known before Apple has replied")
	}
	run := f.run()
	claims := f.claim(run, 2)
	f.save(success(claims[0], run, noon.Add(-time.Hour)))
	if got, known := at(); !known || !got.Equal(noon.Add(-time.Hour)) {
		t.Errorf("got %v, %v; want the newest reply's time, an hour before the clock's", got, known)
	}
	_, _, err := f.ClockDiffered(t.Context(), iap.Production, clock.Reply{At: noon, Ahead: time.Hour}, true)
	f.must(err)
	if _, known := at(); known {
		t.Error("known while the clock is in doubt")
	}
	_, _, err = f.ClockAgreed(t.Context(), iap.Production, noon, false)
	f.must(err)
	f.save(success(claims[1], run, noon.Add(time.Hour)))
	if got, known := at(); !known || !got.Equal(noon) {
		t.Errorf("got %v, %v; want the clock's time, which is the lesser now", got, known)
	}
}

func TestOneLeadsTheMaintenance(t *testing.T) {
	f := open(t)
	for i, step := range []struct {
		owner string
		at    time.Duration
		want  bool
	}{
		{"a", 0, true}, {"b", 0, false}, {"a", 50 * time.Second, true}, {"b", 100 * time.Second, false}, {"b", 111 * time.Second, true}, {"a", 112 * time.Second, false},
	} {
		now := noon.Add(step.at)
		led, err := f.LeadMaintenance(t.Context(), runs.Lease{Owner: step.owner, Until: now.Add(time.Minute)}, now)
		f.must(err)
		if led != step.want {
			t.Errorf("step %d: %s leads: %v, want %v", i, step.owner, led, step.want)
		}
	}
}
