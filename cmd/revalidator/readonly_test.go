package main

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"revalidator/internal/dev/devstack"
	"revalidator/internal/report"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// onItsOwn gives the session a server of Postgres of its own, which can be demoted.
func (s *session) onItsOwn(t *testing.T) *devstack.Postgres {
	t.Helper()
	server, err := devstack.StartPostgres(t.Context(), devstack.Config{})
	if errors.Is(err, devstack.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	db, err := repository.Open(repository.Config{URL: secret.New(server.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.set("DATABASE_URL", server.URL)
	return server
}

// TestFailoverToReadOnly has the database become a standby and a primary again, while
// services run: they say so, and no call is made meanwhile.
func TestFailoverToReadOnly(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	server := s.onItsOwn(t)
	addr := freeAddr(t)
	s.set("REVALIDATOR_METRICS_ADDR", addr)
	worker := s.start(t, nil, "worker")
	ready := func() string { _, body := get(t, "http://"+addr+"/readyz"); return body }
	worker.stderr.waitFor(t, "worker started")
	eventually(t, "it is ready", func() bool { code, _ := get(t, "http://"+addr+"/readyz"); return code == http.StatusOK })

	if err := server.Demote(t.Context()); err != nil {
		t.Fatal(err)
	}
	worker.stderr.waitFor(t, `level=ERROR msg="database may not be written: no receipt is checked`)
	eventually(t, "/readyz says so", func() bool { return strings.Contains(ready(), `"writable":"failed"`) })
	if _, states := s.examined(t, "--offline"); states["postgres_writes"] != string(report.Failure) {
		t.Errorf("doctor: got %v, want a failure of postgres_writes", states)
	}
	if o := s.run(t, "run"); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "standby") {
		t.Errorf("run: exit code %d:\n%s", o.code, o.stderr)
	}
	s.exec(t, `SELECT pg_promote()`)
	worker.stderr.waitFor(t, `database may be written again`)
	eventually(t, "it is ready again", func() bool { code, _ := get(t, "http://"+addr+"/readyz"); return code == http.StatusOK })
	worker.stop(t)
}

// TestServicesWaitForAWritableDatabase starts services on a standby, which becomes a
// primary, or not in time. The pages about it need not write.
func TestServicesWaitForAWritableDatabase(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	server := s.onItsOwn(t)
	if err := server.Demote(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start(t, nil, "ui", "--addr", "127.0.0.1:0").stderr.waitFor(t, "serving http")
	s.set("REVALIDATOR_START_WAIT", "200ms")
	for _, name := range []string{"worker", "scheduler"} {
		service := s.start(t, nil, name)
		if code := service.wait(t); code != terminal.ExitFailure || !strings.Contains(service.stderr.text(), "the server is a standby") {
			t.Errorf("%s: exit code %d, want %d and the reason:\n%s", name, code, terminal.ExitFailure, service.stderr.text())
		}
	}
	s.set("REVALIDATOR_START_WAIT", "5m")
	service := s.start(t, nil, "scheduler")
	service.stderr.waitFor(t, `waiting.*for=writable.*standby`)
	s.exec(t, `SELECT pg_promote()`)
	service.stderr.waitFor(t, `scheduler started`)
}

// TestConnectionErrors has servers that answer and refuse: nobody is asked whether
// they are running.
func TestConnectionErrors(t *testing.T) {
	t.Parallel()
	template := newSession(t)
	for name, test := range map[string]struct{ variable, from, to, want string }{
		"no TLS":       {"DATABASE_URL", "?sslmode=disable", "", "add sslmode=disable to DATABASE_URL"},
		"no database":  {"DATABASE_URL", "?", "_nothing?", "createdb"},
		"no password":  {"REDIS_URL", "default:", "default:x", "correct the user and the password in REDIS_URL"},
		"TLS to plain": {"REDIS_URL", "redis://", "rediss://", "it wants redis:// in the place of rediss://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &session{env: template.env}
			s.set(test.variable, strings.Replace(s.get(test.variable), test.from, test.to, 1))
			o := s.run(t, "status")
			if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, test.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", o.code, terminal.ExitFailure, test.want, o.stderr)
			}
			if name != "TLS to plain" && strings.Contains(o.stderr, "is it running") {
				t.Errorf("a guess:\n%s", o.stderr)
			}
		})
	}
}
