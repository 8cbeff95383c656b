package main

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
)

// clockWrong has three replies of production agree that the clock is wrong.
func (s *session) clockWrong(t *testing.T, ahead time.Duration) {
	t.Helper()
	db, now := s.db(t), time.Now().UTC()
	for range 3 {
		if _, _, err := db.ClockDiffered(t.Context(), iap.Production, clock.Reply{At: now, Ahead: ahead}, false); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrongClockShows wherever an operator looks, until probes have agreed.
func TestWrongClockShows(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 4)
	s.must(t, "run", "--worker", "--quiet")
	ui := s.start(t, nil, "ui", "--addr", "127.0.0.1:0")
	url := ui.stderr.waitFor(t, `serving (http://127\.0\.0\.1:\d+/)`)[1]
	const wrong = "the database's clock is ahead of Apple's by 1h0m0s, as replies of Production agree"
	look := func(isWrong bool) {
		t.Helper()
		code, body := get(t, url+"readyz")
		if got := code == http.StatusServiceUnavailable && strings.Contains(body, `"clock":"failed"`); got != isWrong {
			t.Errorf("/readyz: got %d and %s, want the clock to be wrong: %v", code, body, isWrong)
		}
		if _, states := s.examined(t, "--offline"); (states["apple_time"] == "failure") != isWrong {
			t.Errorf("doctor: got %s, want the clock to be wrong: %v", states["apple_time"], isWrong)
		}
		if o := s.must(t, "status"); strings.Contains(strings.Join(strings.Fields(o.stdout), " "), wrong) != isWrong {
			t.Errorf("status: got\n%s\nwant %q: %v", o.stdout, wrong, isWrong)
		}
		if o := s.must(t, "explain", "1", "--as", "receipt", "--json"); strings.Contains(o.stdout, wrong) != isWrong {
			t.Errorf("explain: got\n%s\nwant %q: %v", o.stdout, wrong, isWrong)
		}
	}
	look(false)
	s.clockWrong(t, -time.Hour)
	look(true)
	for range 2 {
		if _, _, err := s.db(t).ClockAgreed(t.Context(), iap.Production, time.Now(), true); err != nil {
			t.Fatal(err)
		}
	}
	look(false)
}

// TestWrongClockHolds runs the program while the database's clock is an hour or a year
// from Apple's, and then sets it right.
func TestWrongClockHolds(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"ahead": time.Hour, "behind": -time.Hour, "a year ahead": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrongClockHolds(t, ahead)
		})
	}
}

func wrongClockHolds(t *testing.T, ahead time.Duration) {
	t.Helper()
	s := newSession(t)
	const customers = 12
	s.shopAt(t, customers, time.Now())
	s.setDatabaseClock(t, ahead)
	s.exec(t, `UPDATE receipts SET next_check_at = now() - interval '2 hours'`)
	worker := s.start(t, nil, "worker")
	run := s.start(t, nil, "run")
	worker.stderr.waitFor(t, `level=ERROR msg="the clock is wrong.*environment=Production apple_ahead=-?(59m5\ds|1h0m\ds|8759h59m5\ds|8760h0m\ds)`)
	if n := s.count(t, `SELECT (SELECT count(*) FROM subscriptions) + (SELECT count(*) FROM purchases) + (SELECT count(*) FROM subscription_events)`); n != 0 {
		t.Errorf("%d rows were stored of replies that are not believed", n)
	}
	eventually(t, "what was on its way has ended", func() bool {
		return s.count(t, `SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL`) == 0
	})
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE state <> 'new' OR consecutive_failures + failures_alike > 0 OR last_checked_at IS NOT NULL`); n != 0 {
		t.Errorf("%d receipts were touched, want a wrong clock to be nobody's failure", n)
	}
	if n := s.count(t, `SELECT coalesce(sum(answers), 0) FROM run_failures WHERE class = 'clock_differs'`); n < 3 || n > customers {
		t.Errorf("%d failed responses are counted in the run, want 3 at least", n)
	}
	if _, states := s.examined(t, "--offline"); states["apple_time"] != "failure" {
		t.Errorf("doctor: got %s, want a failure", states["apple_time"])
	}

	s.setDatabaseClock(t, 0)
	// Nobody waits for a minute here.
	eventually(t, "two probes have ended the hold", func() bool {
		s.exec(t, `UPDATE endpoint_clocks SET next_probe_at = now()`)
		return s.count(t, `SELECT count(*) FROM endpoint_clocks`) == 0
	})
	worker.stderr.waitFor(t, `level=INFO msg="Apple's time agrees with the clock again`)
	if ahead > 24*time.Hour {
		// The run is over all that is due within the year: it ends at its deadline.
		eventually(t, "all are checked", func() bool {
			return s.count(t, `SELECT count(*) FROM receipts WHERE state = 'valid'`) == customers
		})
		return
	}
	s.exec(t, `UPDATE receipts SET next_check_at = now() - interval '1 second' WHERE next_check_rule = 'clock_differs'`)
	if code := run.wait(t); code != terminal.ExitOK {
		t.Errorf("exit code of the run: got %d, want %d\n%s", code, terminal.ExitOK, run.stderr.text())
	}
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE state = 'valid'`); n != customers {
		t.Errorf("%d receipts are valid in the end, want all %d", n, customers)
	}
	if n := strings.Count(worker.stderr.text(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log of the worker, want one that says by how much the clock is wrong\n%s", n, worker.stderr.text())
	}
}

// TestMachineClockWrong runs the program on a machine that is an hour behind the
// database and Apple. All that is compared or stored is of the database's clock.
func TestMachineClockWrong(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	const customers = 12
	s.setDatabaseClock(t, time.Hour)
	s.shopAt(t, customers, time.Now().Add(time.Hour))
	o := s.must(t, "run", "--worker")
	if strings.Contains(o.stderr, "level=ERROR") || strings.Contains(o.stderr, "level=WARN") {
		t.Errorf("got complaints:\n%s", o.stderr)
	}
	const ours = `now() + interval '59 minutes' AND now() + interval '61 minutes'`
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE state = 'valid' AND created_at BETWEEN `+ours+` AND last_checked_at BETWEEN `+ours); n != customers {
		t.Errorf("%d receipts are checked and dated by the database's clock, want all %d", n, customers)
	}
	if n := s.count(t, `SELECT count(*) FROM runs WHERE started_at BETWEEN `+ours+` AND finished_at BETWEEN `+ours+` AND owner_until > finished_at`); n != 1 {
		t.Error("the run is not dated by the database's clock")
	}
	if n := s.count(t, `SELECT count(*) FROM endpoint_clocks`); n != 0 {
		t.Errorf("the clock is suspected for %d endpoints", n)
	}
}

// setDatabaseClock has the session's Postgres be so far ahead of this machine, by
// a function that is found before its own.
func (s *session) setDatabaseClock(t *testing.T, ahead time.Duration) {
	t.Helper()
	s.exec(t, `CREATE SCHEMA IF NOT EXISTS skewed`)
	s.exec(t, fmt.Sprintf(`CREATE OR REPLACE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql
		AS 'SELECT pg_catalog.clock_timestamp() + interval ''%d seconds'''`, int(ahead.Seconds())))
	const path = "search_path=public,skewed,pg_catalog"
	if url := s.get("DATABASE_URL"); !strings.Contains(url, path) {
		separator := "?"
		if strings.Contains(url, "?") {
			separator = "&"
		}
		s.set("DATABASE_URL", url+separator+path)
	}
}

// shopAt is a shop whose App Store is at a time, and no clock to follow it by.
// No receipt of it is of the sandbox, whose clock is another one.
func (s *session) shopAt(t *testing.T, customers int, start time.Time) *applesim.Server {
	t.Helper()
	mix := applesim.DefaultMix()
	mix.Sandbox = 0
	sim, err := applesim.New(applesim.Config{
		Seed: 1, Customers: customers, Mix: &mix, Start: start, Speed: 1, Apps: []applesim.App{applesim.NewApp(1, readerApp, true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pointTo(t, sim)
	s.set("REVALIDATOR_CLOCK_URL", "")
	s.must(t, "apps", "add", readerApp, "--rate", "500", "--burst", "10")
	s.must(t, "secrets", "add", "--app", readerApp, "--file", writeFile(t, "secret", sim.Secrets(readerApp)[0]+"\n"))
	s.must(t, "import", "--quiet", receiptsFile(t, sim))
	return sim
}

// count runs a query that returns one number.
func (s *session) count(t *testing.T, query string) (n int) {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
