package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// reportedRuns are two nights, a manual run between them and a backfill: 4 is the
// night that went wrong.
const reportedRuns = `
	INSERT INTO runs (kind, scheduled_for, cutoff, deadline, state, started_at, counted_at, finished_at, owner, owner_until, started_by)
	SELECT kind, at::timestamptz, at::timestamptz, at::timestamptz + interval '8 hours', state, at::timestamptz,
	       at::timestamptz + took, at::timestamptz + took, 'test', at::timestamptz, 'ann@desk, pid 4711'
	FROM (VALUES
		('nightly', '2026-12-01T02:00Z', 'finished', interval '20 minutes'),
		('manual', '2026-12-01T12:00Z', 'finished', interval '3 minutes'),
		('backfill', '2026-12-01T13:00Z', 'finished', interval '1 hour'),
		('nightly', '2026-12-02T02:00Z', 'cut_off', interval '8 hours'),
		('nightly', '2026-12-03T02:00Z', 'running', NULL)) r(kind, at, state, took);
	INSERT INTO run_apps (run_id, bundle_id, due, claimed, enqueued, succeeded, failed, released, changed, calls) VALUES
		(1, 'com.example.fitness', 4000, 4000, 4000, 3998, 2, 0, 900, 4010), (1, 'com.example.reader', 8010, 8010, 8010, 8010, 0, 0, 1700, 8010),
		(2, 'com.example.reader', 100, 100, 100, 100, 0, 0, 3, 100),
		(3, 'com.example.reader', 100, 80, 80, 80, 0, 20, 3, 80),
		(4, 'com.example.fitness', 4200, 900, 900, 800, 50, 3350, 120, 1200),
		(4, 'com.example.reader', 1500000, 1440010, 1440010, 1439969, 31, 59990, 1800, 1440020);
	INSERT INTO run_failures (run_id, bundle_id, class, responses) VALUES
		(1, 'com.example.fitness', 'timeout', 12), (4, 'com.example.fitness', 'timeout', 260),
		(4, 'com.example.reader', 'apple_unavailable', 40), (1, 'com.example.reader', 'receipt_malformed', 1);
	INSERT INTO subscription_events (type, bundle_id, environment, original_transaction_id, transaction_id, product_id, after, as_of, recorded_at, run_id)
	SELECT type, app, 'Production', '1', '1', product, '{}', '2026-12-02', '2026-12-02', run
	FROM (VALUES
		(1, 'com.example.fitness', 'gym.monthly', 'renewed', 800), (1, 'com.example.fitness', 'gym.monthly', 'expired', 90),
		(1, 'com.example.fitness', 'gym.monthly', 'refunded', 4), (1, 'com.example.fitness', 'gym.yearly', 'resubscribed', 6),
		(1, 'com.example.reader', 'com.example.reader.premium.monthly', 'renewed', 1700),
		(4, 'com.example.fitness', 'gym.monthly', 'renewed', 60), (4, 'com.example.fitness', 'gym.monthly', 'expired', 50),
		(4, 'com.example.fitness', 'gym.monthly', 'recovered', 9), (4, 'com.example.fitness', 'gym.monthly', 'refunded', 4),
		(4, 'com.example.fitness', 'gym.monthly', 'entered_billing_retry', 12), (4, 'com.example.fitness', 'gym.monthly', 'entered_grace_period', 15),
		(4, 'com.example.fitness', 'gym.monthly', 'a_type_of_the_future', 1),
		(4, 'com.example.reader', 'com.example.reader.premium.monthly', 'renewed', 1800),
		(2, 'com.example.reader', 'com.example.reader.premium.monthly', 'started', 3)) e(run, app, product, type, n),
	generate_series(1, n)`

func TestReport(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.run(t, "report") // says that there is none
	s.must(t, "apps", "add", readerApp, "--rate", "50")
	s.must(t, "apps", "add", fitnessApp, "--rate", "5")
	s.exec(t, reportedRuns)
	s.must(t, "apps", "pause", fitnessApp, "--reason", "moving to another team, which has to agree to it first")
	s.must(t, "report")
	s.must(t, "report", "1")
	s.must(t, "report", "2")
	s.must(t, "report", "3")
	s.must(t, "report", "--json")
	s.must(t, "report", "2", "--json")
	s.run(t, "report", "6")
	s.run(t, "report", "last")
	s.run(t, "report", "1", "2")
	checkWidth(t, results(s.transcript.String()))
	goldenExactly(t, "report.txt", s.transcript.String())
}

// TestReportOfRunning is about a run that goes on: so far.
func TestReportOfRunning(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.exec(t, reportedRuns)
	o := s.must(t, "report", "5")
	for _, want := range []string{"running: has taken ", "Compared with run 4 of 2026-12-02 02:00:00 UTC"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("%q is missing:\n%s", want, o.stdout)
		}
	}
}

// TestReportAfterRun reports on a real run.
func TestReportAfterRun(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 10)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	var r struct {
		ID     int64 `json:"id"`
		Totals struct {
			Succeeded struct {
				Count  int64  `json:"count"`
				Before *int64 `json:"before"`
			} `json:"succeeded"`
		} `json:"totals"`
		Events []struct {
			Type  string `json:"type"`
			Count int64  `json:"count"`
		} `json:"events"`
	}
	if err := json.Unmarshal([]byte(s.must(t, "report", "--json").stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.ID != 1 || r.Totals.Succeeded.Count != 10 || r.Totals.Succeeded.Before != nil || len(r.Events) == 0 || r.Events[0].Type != "started" {
		t.Errorf("got %+v, want 10 done in run 1, none before, and what started", r)
	}
}
