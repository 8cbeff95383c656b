package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/config"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack/pgtest"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/jobs"
)

// versions and figures of servers differ from machine to machine.
var serverFigures = regexp.MustCompile(`(postgres version  |redis version     )\d\S*|[\d.]+ [KM]iB`)

// examined runs doctor, and returns what became of each check.
func (s *session) examined(t *testing.T, args ...string) (outcome, map[string]string) {
	t.Helper()
	o := s.run(t, append([]string{"doctor", "--json"}, args...)...)
	var d report.Diagnosis
	if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
		t.Fatalf("not JSON: %v\n%s\n%s", err, o.stdout, o.stderr)
	}
	states := make(map[string]string)
	for _, c := range d.Checks {
		states[c.Check] = string(c.State)
	}
	return o, states
}

// redis is a client of the session's Redis.
func (s *session) redis(t *testing.T) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(s.get("REDIS_URL"))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// exec changes the session's database.
func (s *session) exec(t *testing.T, statement string) {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// config changes a setting of the session's Redis.
func (s *session) config(t *testing.T, name, value string) {
	t.Helper()
	if err := s.redis(t).ConfigSet(t.Context(), name, value).Err(); err != nil {
		t.Fatal(err)
	}
}

// openedShop is a shop in which everything is at work.
func openedShop(t *testing.T) (*session, *applesim.Server) {
	t.Helper()
	s := newSession(t)
	// No night falls while the test runs.
	s.set("REVALIDATOR_SCHEDULE", "0 0 29 2 *")
	s.set("REVALIDATOR_CATCH_UP", "0")
	sim := s.openShop(t, 4)
	s.services = make(map[string]*process)
	for _, name := range []string{"scheduler", "worker"} {
		s.services[name] = s.start(t, nil, name)
		s.services[name].stderr.waitFor(t, name+" started")
	}
	client := s.redis(t)
	inspector := asynq.NewInspectorFromRedisClient(client)
	eventually(t, "scheduler and worker show themselves", func() bool {
		// asynq lists a server before it tells what it serves, so its list alone would be early.
		servers, err := inspector.Servers()
		return err == nil && len(servers) == 2 && client.HLen(t.Context(), "revalidator:presence").Val() == 2
	})
	return s, sim
}

// TestDoctorSound has nothing to find, and people and scripts read so.
func TestDoctorSound(t *testing.T) {
	t.Parallel()
	s, sim := openedShop(t)
	s.transcript.Reset()
	s.must(t, "doctor")
	s.must(t, "doctor", "--offline")
	checkWidth(t, s.transcript.String())
	checkSilence(t, s, sim.Secrets(readerApp)[0], s.get("REVALIDATOR_KEYS"))
	golden(t, "doctor.txt", serverFigures.ReplaceAllString(s.transcript.String(), "${1}<figure>"))
}

// TestDoctorFinds breaks one thing at a time. Every check is there in every
// state, and the others stay as they were.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		spoil    func(t *testing.T, s *session)
		want     map[string]string
		wantCode int
	}{
		{"nothing", func(*testing.T, *session) {}, nil, terminal.ExitOK},
		{"no Postgres", func(_ *testing.T, s *session) {
			s.set("DATABASE_URL", "postgres://u:hunter2@"+closedPort+"/x?sslmode=disable")
		}, withPostgres("failure"), terminal.ExitFailure},
		{"no database named", func(_ *testing.T, s *session) { s.set("DATABASE_URL", "") }, withPostgres("failure"), terminal.ExitFailure},
		{"no Redis", func(_ *testing.T, s *session) { s.set("REDIS_URL", "redis://:hunter2@"+closedPort+"/0") }, map[string]string{
			"redis": "failure", "redis_version": "skipped", "redis_clock": "skipped", "redis_eviction": "skipped",
			"redis_memory": "skipped", "queue_retries": "skipped", "apple_distress": "skipped", "workers": "skipped",
			"queue_owner": "skipped", "queue_servers": "skipped", "schedulers": "skipped", "claims": "skipped",
		}, terminal.ExitFailure},
		{"no tables", func(t *testing.T, s *session) { s.set("DATABASE_URL", emptyDatabase(t)) }, map[string]string{
			"schema": "failure", "apps": "skipped", "keys": "skipped", "secrets": "skipped", "secret_age": "skipped",
			"overdue": "skipped", "next_checks": "skipped", "runs": "skipped", "apple_time": "skipped", "last_run": "skipped", "quarantine": "skipped", "no_source": "skipped",
			"queue_owner": "skipped", "queue_servers": "skipped", "schedulers": "skipped", "claims": "skipped",
		}, terminal.ExitFailure},
		{"another encoding", func(t *testing.T, s *session) { s.set("DATABASE_URL", pgtest.Encoded(t, "LATIN1")) }, map[string]string{
			"postgres_encoding": "failure", "schema": "failure", "apps": "skipped", "keys": "skipped", "secrets": "skipped", "secret_age": "skipped",
			"overdue": "skipped", "next_checks": "skipped", "runs": "skipped", "apple_time": "skipped", "last_run": "skipped", "quarantine": "skipped", "no_source": "skipped",
			"queue_owner": "skipped", "queue_servers": "skipped", "schedulers": "skipped", "claims": "skipped",
		}, terminal.ExitFailure},
		{"the clock is wrong", func(t *testing.T, s *session) { s.clockWrong(t, time.Hour) }, map[string]string{"apple_time": "failure"}, terminal.ExitFailure},
		{"another installation's Redis, and no app", func(t *testing.T, s *session) { s.set("DATABASE_URL", newSession(t).get("DATABASE_URL")) },
			map[string]string{"apps": "warning", "queue_owner": "failure", "queue_servers": "skipped", "schedulers": "skipped", "claims": "skipped"}, terminal.ExitFailure},
		{"a copy of the server", func(t *testing.T, s *session) { s.copyRuns(t) }, map[string]string{"queue_servers": "warning"}, terminal.ExitOK},
		{"a task that waits for a retry", func(t *testing.T, s *session) {
			keys := s.redis(t)
			task := "asynq:{receipts}:t:retried"
			if err := keys.HSet(t.Context(), task, "state", "retry").Err(); err != nil {
				t.Fatal(err)
			}
			if err := keys.ZAdd(t.Context(), "asynq:{receipts}:retry", redis.Z{Score: 4e9, Member: "retried"}).Err(); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"queue_retries": "warning"}, terminal.ExitOK},
		{"a claim without its task", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE receipts SET claimed_until = now() + interval '10 min' WHERE id = 1`)
		}, map[string]string{"claims": "warning"}, terminal.ExitOK},
		{"app without secret", func(t *testing.T, s *session) { s.must(t, "apps", "add", "com.example.new") },
			map[string]string{"secrets": "failure"}, terminal.ExitFailure},
		{"paused app", func(t *testing.T, s *session) { s.must(t, "apps", "pause", readerApp, "--reason", "a move") },
			map[string]string{"apps": "warning"}, terminal.ExitOK},
		{"app whose secret was refused", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE apps SET paused_at = now(), paused_code = 'shared_secret_refused' WHERE bundle_id = '`+readerApp+`'`)
		}, map[string]string{"apps": "failure"}, terminal.ExitFailure},
		{"every secret refused", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE shared_secrets SET state = 'refused', last_refused = now()`)
		}, map[string]string{"secrets": "failure"}, terminal.ExitFailure},
		{"the accepted secret retired", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE shared_secrets SET state = 'retired', last_accepted = now()`)
			s.addSecret(t, otherSecret, "--app", readerApp)
			s.exec(t, `UPDATE shared_secrets SET state = 'new' WHERE state <> 'retired'`)
		}, map[string]string{"secrets": "failure"}, terminal.ExitFailure},
		{"no keys", func(_ *testing.T, s *session) { s.set("REVALIDATOR_KEYS", "") }, map[string]string{"keys": "failure"}, terminal.ExitFailure},
		{"other keys", func(t *testing.T, s *session) { s.set("REVALIDATOR_KEYS", newKeys(t)) }, map[string]string{"keys": "failure"}, terminal.ExitFailure},
		{"old secrets", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE shared_secrets SET created_at = now() - interval '91 days'`)
		},
			map[string]string{"secret_age": "warning"}, terminal.ExitOK},
		{"age of no interest", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE shared_secrets SET created_at = now() - interval '91 days'`)
			s.set("REVALIDATOR_SECRET_AGE", "0")
		}, nil, terminal.ExitOK},
		{"overdue", func(t *testing.T, s *session) {
			s.exec(t, `UPDATE receipts SET next_check_at = now() - interval '10 years'`)
		},
			map[string]string{"overdue": "warning"}, terminal.ExitOK},
		{"a run of which many failed", func(t *testing.T, s *session) { s.exec(t, finishedRun(400, 20)) }, map[string]string{"last_run": "warning"}, terminal.ExitOK},
		{"a run of which few failed", func(t *testing.T, s *session) { s.exec(t, finishedRun(401, 20)) }, nil, terminal.ExitOK},
		{"a small run of which many failed", func(t *testing.T, s *session) { s.exec(t, finishedRun(19, 19)) }, nil, terminal.ExitOK},
		{"quarantining stopped", func(t *testing.T, s *session) { s.exec(t, stoppedQuarantine) },
			map[string]string{"quarantine": "failure"}, terminal.ExitFailure},
		{"quarantining stopped, and resumed by a person", func(t *testing.T, s *session) {
			s.exec(t, stoppedQuarantine)
			s.must(t, "apps", "resume", readerApp, "--quarantine")
		}, nil, terminal.ExitOK},
		{"evicting Redis", func(t *testing.T, s *session) { s.config(t, "maxmemory-policy", "allkeys-lru") },
			map[string]string{"redis_eviction": "failure"}, terminal.ExitFailure},
		{"full Redis", func(t *testing.T, s *session) { s.config(t, "maxmemory", "1100000") },
			map[string]string{"redis_memory": "warning"}, terminal.ExitOK},
		{"no scheduler", func(t *testing.T, s *session) { s.services["scheduler"].stop(t) },
			map[string]string{"schedulers": "failure"}, terminal.ExitFailure},
		{"no worker", func(t *testing.T, s *session) { s.services["worker"].stop(t) },
			map[string]string{"workers": "failure"}, terminal.ExitFailure},
		{"no App Store", func(_ *testing.T, s *session) {
			s.set("REVALIDATOR_APPLE_SANDBOX_URL", "http://"+closedPort+"/verifyReceipt")
		}, map[string]string{"apple_sandbox": "failure"}, terminal.ExitFailure},
		{"no App Store, and not asked", func(_ *testing.T, s *session) {
			s.set("REVALIDATOR_APPLE_SANDBOX_URL", "http://"+closedPort+"/verifyReceipt")
		}, map[string]string{"apple_production": "skipped", "apple_sandbox": "skipped"}, terminal.ExitOK},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, _ := openedShop(t)
			_, want := s.examined(t)
			for check, state := range want {
				if state != string(report.OK) {
					t.Errorf("before: %s: got %s, want ok", check, state)
				}
			}
			for check, state := range test.want {
				want[check] = state
			}
			test.spoil(t, s)
			var args []string
			if want["apple_production"] == "skipped" {
				args = []string{"--offline"}
			}
			o, got := s.examined(t, args...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("checks (-want +got):\n%s\n%s", diff, o.stdout)
			}
			if o.code != test.wantCode {
				t.Errorf("exit code: got %d, want %d", o.code, test.wantCode)
			}
			checkSilence(t, s, "hunter2")
		})
	}
}

// copyRuns has a process of this installation be connected to another server.
func (s *session) copyRuns(t *testing.T) {
	t.Helper()
	installation, err := s.db(t).Installation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	queue := jobs.NewQueue(s.redis(t), time.Minute).Of(func() jobs.Owner { return jobs.Owner{Installation: installation.ID} })
	if _, err := queue.Beat(t.Context(), jobs.Process{
		Kind: jobs.KindWorker, Name: "copy/1", Server: jobs.Server{Address: "10.0.0.9:5432", StartedAt: time.Now()},
	}); err != nil {
		t.Fatal(err)
	}
}

// stoppedQuarantine has too many good receipts accused within a day, of which one
// was quarantined before.
const stoppedQuarantine = `
	UPDATE apps SET quarantine_stopped_at = '2026-01-02 03:04', quarantine_stopped_for = 'account_gone' WHERE bundle_id = 'com.example.reader';
	INSERT INTO app_checks VALUES ('com.example.reader', date_trunc('hour', now()), '', 400), ('com.example.reader', date_trunc('hour', now()), 'account_gone', 25);
	UPDATE receipts SET state = 'account_gone', accepted_at = '2026-01-01', quarantined_at = '2026-01-02 03:00', last_error = 'account_gone', next_check_at = NULL, next_check_rule = 'quarantined'
	WHERE id = (SELECT min(id) FROM receipts WHERE bundle_id = 'com.example.reader')`

// finishedRun is a run in which receipts failed because of a proxy.
func finishedRun(done, failed int) string {
	return fmt.Sprintf(`
		INSERT INTO runs (kind, scheduled_for, cutoff, deadline, started_at, counted_at, finished_at, state, owner, owner_until)
		VALUES ('manual', now(), now(), now(), now(), now(), now(), 'finished', 'test', now());
		INSERT INTO run_apps (run_id, bundle_id, due, claimed, succeeded, failed) SELECT max(id), 'com.example.reader', %d, %d, %d, %d FROM runs;
		INSERT INTO run_failures SELECT max(id), 'com.example.reader', 'proxy_refused_size', %d FROM runs`, done, done, done-failed, failed, failed)
}

// TestDoctorTellsOfQuarantine is what somebody reads who is called at night.
func TestDoctorTellsOfQuarantine(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 4)
	s.exec(t, finishedRun(29, 29))
	s.exec(t, stoppedQuarantine)
	s.transcript.Reset()
	s.run(t, "doctor", "--offline")
	s.must(t, "apps", "list")
	s.run(t, "status")
	s.must(t, "receipts", "release", "--app", readerApp, "--since", "2026-01-01")
	s.must(t, "apps", "resume", readerApp, "--quarantine")
	s.must(t, "apps", "resume", readerApp, "--quarantine")
	s.run(t, "doctor", "--offline")
	checkWidth(t, results(s.transcript.String()))
	golden(t, "doctor-quarantine.txt", serverFigures.ReplaceAllString(s.transcript.String(), "${1}<figure>"))
}

// withPostgres is what is left where Postgres cannot be reached.
func withPostgres(state string) map[string]string {
	want := map[string]string{"postgres": state}
	for _, check := range []string{
		"postgres_version", "postgres_encoding", "postgres_clock", "postgres_writes", "schema", "apps", "keys", "secrets", "secret_age", "overdue", "next_checks", "no_source", "runs", "apple_time",
		"last_run", "quarantine", "queue_owner", "queue_servers", "schedulers", "claims",
	} {
		want[check] = "skipped"
	}
	return want
}

// TestDoctorClock moves the clock of this machine.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for ahead, want := range map[time.Duration]report.Severity{
		0: report.OK, 3 * time.Second: report.OK, -3 * time.Second: report.OK,
		30 * time.Second: report.Warning, -30 * time.Second: report.Warning,
		2 * time.Minute: report.Failure, -2 * time.Minute: report.Failure,
	} {
		cfg, err := config.Load(s.env)
		if err != nil {
			t.Fatal(err)
		}
		p := &program{Terminal: terminal.Terminal{Err: io.Discard}}
		parts := &parts{cfg: cfg, log: p.logger(cfg.Log)}
		d := parts.doctor(true)
		d.Machine = func() time.Time { return time.Now().Add(ahead) }
		clocks := make(map[string]report.Severity)
		for _, f := range d.Examine(t.Context()).Checks {
			if strings.HasSuffix(f.Check, "_clock") {
				clocks[f.Check] = f.State
			}
		}
		parts.close()
		if diff := cmp.Diff(map[string]report.Severity{"postgres_clock": want, "redis_clock": want}, clocks); diff != "" {
			t.Errorf("this machine ahead by %s (-want +got):\n%s", ahead, diff)
		}
	}
}

// TestDoctorTroubled has nothing at all, as on a machine that is being set up.
func TestDoctorTroubled(t *testing.T) {
	t.Parallel()
	s := &session{}
	s.set("REDIS_URL", "redis://"+closedPort)
	if o := s.run(t, "doctor", "--offline"); o.code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d", o.code, terminal.ExitFailure)
	}
	full := newSession(t)
	s.set("DATABASE_URL", full.get("DATABASE_URL"))
	s.set("REDIS_URL", full.get("REDIS_URL"))
	full.config(t, "maxmemory-policy", "volatile-lru")
	full.must(t, "apps", "add", readerApp)
	s.run(t, "doctor", "--offline")
	s.set("REVALIDATOR_APPLE_TIMEOUT", "soon")
	if o := s.run(t, "doctor"); o.code != terminal.ExitUsage {
		t.Errorf("exit code with a wrong setting: got %d, want %d", o.code, terminal.ExitUsage)
	}
	checkWidth(t, results(s.transcript.String()))
	golden(t, "doctor-troubled.txt", serverFigures.ReplaceAllString(s.transcript.String(), "${1}<figure>"))
}

// TestDoctorColors looks at a terminal, with and without NO_COLOR.
func TestDoctorColors(t *testing.T) {
	t.Parallel()
	for noColor, want := range map[string]bool{"": true, "1": false} {
		s := &session{}
		s.set("REDIS_URL", "redis://"+closedPort)
		s.set("NO_COLOR", noColor)
		term := newTerminal(t)
		run(t.Context(), []string{"doctor", "--offline"}, nil, term.program, io.Discard, s.env)
		term.close()
		if got := strings.Contains(term.screen.text(), "\x1b[31mfailure\x1b[0m  postgres"); got != want {
			t.Errorf("NO_COLOR=%s: colored is %v, want %v:\n%q", noColor, got, want, term.screen.text())
		}
		if got := strings.Contains(term.screen.text(), "\x1b"); got != want {
			t.Errorf("NO_COLOR=%s: control sequences are %v, want %v", noColor, got, want)
		}
	}
}
