package main

import (
	"context"
	"database/sql"
	"net"
	"strings"
	"testing"

	"revalidator/internal/apps"
	"revalidator/internal/stores"
	"revalidator/internal/terminal"
)

// rows counts the rows of tables, which a command that fails must leave alone.
func (s *session) rows(t *testing.T) map[string]int {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	counts := make(map[string]int)
	for _, table := range []string{"apps", "shared_secrets", "receipts", "runs"} {
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		counts[table] = n
	}
	return counts
}

const someSecret = "0123456789abcdef0123456789abcdef"

// closedPort is an address of this machine at which nobody listens.
const closedPort = "127.0.0.1:1"

// TestCommandLine is what is wrong with command lines, without any service.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := &session{}
	for _, args := range [][]string{
		{"wroker"},
		{"nonsense"},
		{"apps", "lsit"},
		{"run", "--wroker"},
		{"run", "now"},
		{"help", "wroker"},
		{"help", "secrets", "ad"},
		{"check", "--receipt", "0"},
		{"check", "--receipt", "first"},
		{"backfill", "--all", "--share", "200"},
		{"apps", "add"},
		{"apps", "add", ""},
		{"apps", "add", readerApp, fitnessApp},
		{"apps", "add", "com.example.reader "},
		{"apps", "add", readerApp, "--rate", "0"},
		{"apps", "add", readerApp, "--rate", "fast"},
		{"apps", "add", readerApp, "--burst", "0"},
		{"import"},
		{"import", "receipts.ndjson", "--format", "xml"},
		{"import", "receipts.ndjson", "--rejects", "receipts.ndjson"},
		{"import", "receipts.ndjson", "--rejects", "no-such-folder/rejects.ndjson"},
		{"import", "receipts.ndjson", "--rejects", "main.go/rejects.ndjson"},
		{"import", "receipts.ndjson", "--rejects", "testdata"},
		{"secrets", "add"},
		{"secrets", "add", "--app", readerApp, "--primary"},
		{"secrets", "add", "--app", readerApp, someSecret},
		{"status", "all"},
	} {
		if o := s.run(t, args...); o.code != terminal.ExitUsage || o.stdout != "" {
			t.Errorf("%q: got exit code %d and %q on standard output, want %d and nothing", args, o.code, o.stdout, terminal.ExitUsage)
		}
	}
	checkSilence(t, s, someSecret)
	golden(t, "command-line.txt", s.transcript.String())
}

// TestSettings is what is wrong with settings, without any service.
func TestSettings(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	tests := []struct {
		name string
		env  []string
		args []string
	}{
		{"no database", nil, []string{"status"}},
		{"no URL of a database", []string{"DATABASE_URL=postgres://u:" + password + "@host:port/x"}, []string{"status"}},
		{"another kind of database", []string{"DATABASE_URL=mysql://u:" + password + "@localhost/x"}, []string{"status"}},
		{"no URL of a Redis", []string{"REDIS_URL=http://:" + password + "@localhost"}, []string{"status"}},
		{"unknown variable", []string{"REVALIDATOR_CONCURENCY=8"}, []string{"worker"}},
		{"several mistakes", []string{"REVALIDATOR_CONCURRENCY=many", "REVALIDATOR_RUN_WINDOW=long"}, []string{"worker"}},
		{"no keys", []string{"DATABASE_URL=postgres://" + closedPort + "/x"}, []string{"worker"}},
		{"no keys for a run", []string{"DATABASE_URL=postgres://" + closedPort + "/x"}, []string{"run", "--worker"}},
		{"bad keys", []string{"REVALIDATOR_KEYS=" + password}, []string{"secrets", "add", "--primary"}},
		{"no file of keys", []string{"REVALIDATOR_KEYS_FILE=no-such-file"}, []string{"worker"}},
	}
	var transcript strings.Builder
	for _, test := range tests {
		s := &session{env: test.env}
		if o := s.run(t, test.args...); o.code != terminal.ExitUsage || o.stdout != "" {
			t.Errorf("%s: got exit code %d and %q on standard output, want %d and nothing", test.name, o.code, o.stdout, terminal.ExitUsage)
		}
		checkSilence(t, s, password)
		transcript.WriteString("# " + test.name + "\n" + s.transcript.String())
	}
	golden(t, "settings.txt", transcript.String())
}

// deaf is the address of a server that accepts connections and never answers.
func deaf(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// TestUnreachable has Postgres or Redis away: the command says which, shows what
// the other knows, and ends within a few seconds.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	tests := []struct {
		name, variable, value string
	}{
		{"no Postgres", "DATABASE_URL", "postgres://u:" + password + "@" + closedPort + "/x?sslmode=disable"},
		{"deaf Postgres", "DATABASE_URL", "postgres://u:" + password + "@" + deaf(t) + "/x?sslmode=disable"},
		{"no Redis", "REDIS_URL", "redis://:" + password + "@" + closedPort + "/0"},
		{"deaf Redis", "REDIS_URL", "redis://:" + password + "@" + deaf(t) + "/0"},
	}
	template := newSession(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &session{env: template.env}
			s.set(test.variable, test.value)
			ctx, cancel := context.WithTimeout(t.Context(), stores.ReachTimeout+deadline)
			defer cancel()
			stdout, stderr := newOutput(), newOutput()
			code := run(ctx, []string{"status"}, nil, stdout, stderr, s.env)
			if ctx.Err() != nil {
				t.Fatalf("not within %s", stores.ReachTimeout+deadline)
			}
			s.record([]string{"status"}, outcome{code, stdout.text(), stderr.text()})
			checkSilence(t, s, password)
			golden(t, strings.ReplaceAll(strings.ToLower(test.name), " ", "-")+".txt", s.transcript.String())
		})
	}
}

// TestRefused is what is wrong with what is asked for. Nothing of it is done.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	s.must(t, "secrets", "add", "--app", readerApp, "--file", writeFile(t, "secret", someSecret))
	before := s.rows(t)
	keys := s.get("REVALIDATOR_KEYS")
	s.transcript.Reset()

	s.run(t, "apps", "add", readerApp)
	s.runWith(t, someSecret, "secrets", "add", "--app", readerApp, "--file", "-")
	s.runWith(t, someSecret, "secrets", "add", "--app", "com.example.unknown", "--file", "-")
	s.runWith(t, " \n"+someSecret, "secrets", "add", "--app", readerApp, "--file", "-")
	s.runWith(t, strings.Repeat("a", maxSecret+1), "secrets", "add", "--app", readerApp, "--file", "-")
	s.runWith(t, "", "secrets", "add", "--app", readerApp)
	s.run(t, "secrets", "add", "--app", readerApp, "--file", "no-such-file")
	s.run(t, "import", "no-such-file.ndjson")
	s.run(t, "import", ".")
	s.runWith(t, "bundle,receipt\n", "import", "-")
	s.run(t, "ui", "--addr", "0.0.0.0:8080")
	s.run(t, "ui", "--addr", "8080")
	// Keys of another database, or of none.
	s.set("REVALIDATOR_KEYS", newKeys(t))
	s.run(t, "worker")
	s.run(t, "run", "--worker")
	s.runWith(t, someSecret, "secrets", "add", "--app", readerApp, "--file", "-")
	s.set("REVALIDATOR_KEYS", keys)
	checkSilence(t, s, someSecret)

	for table, n := range s.rows(t) {
		if n != before[table] {
			t.Errorf("rows of %s: got %d, want %d as before", table, n, before[table])
		}
	}
	golden(t, "refused.txt", s.transcript.String())
}

// TestSchemaOfAnotherVersion has a database that is not set up, or that a newer
// program has set up. A look at it leaves no trace.
func TestSchemaOfAnotherVersion(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("DATABASE_URL", emptyDatabase(t))
	s.set("REVALIDATOR_START_WAIT", "0")
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, args := range [][]string{{"status"}, {"apps", "list"}, {"worker"}, {"scheduler"}, {"ui"}} {
		if o := s.run(t, args...); o.code != terminal.ExitFailure {
			t.Errorf("%q: exit code %d, want %d", args, o.code, terminal.ExitFailure)
		}
	}
	var tables int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("a look at an empty database left %d tables there", tables)
	}
	s.must(t, "migrate")
	if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	s.run(t, "status")
	s.run(t, "migrate")
	golden(t, "schema.txt", s.transcript.String())
}

// TestSecretForPausedApp has an app that stands still for want of a good secret,
// and one that a person has paused. A new secret has to prove itself first.
func TestSecretForPausedApp(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	db := s.db(t)
	for _, app := range []string{readerApp, fitnessApp} {
		s.must(t, "apps", "add", app)
	}
	if _, err := db.PauseApp(t.Context(), readerApp, apps.PausedSecretRefused, appStart); err != nil {
		t.Fatal(err)
	}
	if _, err := db.HoldApp(t.Context(), fitnessApp, "a person said so", appStart); err != nil {
		t.Fatal(err)
	}
	s.transcript.Reset()
	s.must(t, "apps", "list")
	s.must(t, "status")
	s.must(t, "secrets", "add", "--primary", "--file", writeFile(t, "secret", "no usual secret\nsecond line"))
	s.must(t, "apps", "list")
	checkSilence(t, s, "no usual secret")
	golden(t, "paused.txt", s.transcript.String())
}
