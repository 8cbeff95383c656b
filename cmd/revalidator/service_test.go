package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"revalidator/internal/terminal"
)

// late is an address at which a server is to be found once arrive is called, as
// one that is started after those who need it.
func late(t *testing.T, server string) (address string, arrive func()) {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	behind := target.Host
	target.Host = freeAddr(t)
	return target.String(), func() {
		listener, err := net.Listen("tcp", target.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go forward(t, listener, behind)
	}
}

func forward(t *testing.T, listener net.Listener, behind string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", behind)
		if err != nil {
			_ = client.Close()
			continue
		}
		t.Cleanup(func() { _, _ = client.Close(), server.Close() })
		go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
		go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	}
}

// TestServicesStartInAnyOrder starts services before their stores, which come
// one after the other. The health pages tell the truth meanwhile.
func TestServicesStartInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"scheduler", "worker", "ui"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.exec(t, `ALTER TABLE goose_db_version RENAME TO later`)
			direct := s.get("DATABASE_URL")
			postgres, startPostgres := late(t, direct)
			redis, startRedis := late(t, s.get("REDIS_URL"))
			s.set("DATABASE_URL", postgres)
			s.set("REDIS_URL", redis)
			addr := freeAddr(t)
			args := []string{name}
			if s.set("REVALIDATOR_METRICS_ADDR", addr); name == "ui" {
				args = append(args, "--addr", addr)
			}
			service := s.start(t, nil, args...)
			page := func(path string) int { code, _ := get(t, "http://"+addr+path); return code }

			service.stderr.waitFor(t, `waiting.*for=postgres.*refused`)
			if name != "ui" {
				eventually(t, "it is alive", func() bool { return page("/healthz") == http.StatusOK })
				if code := page("/readyz"); code != http.StatusServiceUnavailable {
					t.Errorf("/readyz without stores: got %d, want 503", code)
				}
			}
			startPostgres()
			service.stderr.waitFor(t, `wait is over.*for=postgres`)
			service.stderr.waitFor(t, `waiting.*for=schema.*revalidator migrate`)
			s.set("DATABASE_URL", direct)
			s.exec(t, `ALTER TABLE later RENAME TO goose_db_version`)
			service.stderr.waitFor(t, `waiting.*for=redis`)
			startRedis()
			service.stderr.waitFor(t, name+` started|serving http`)
			eventually(t, "it is ready", func() bool { return page("/readyz") == http.StatusOK })
			if n := strings.Count(service.stderr.text(), "for=schema"); n != 2 {
				t.Errorf("%d lines about the schema, want one for the wait and one for its end:\n%s", n, service.stderr.text())
			}
			if code := service.stop(t); code != terminal.ExitOK {
				t.Errorf("exit code %d:\n%s", code, service.stderr.text())
			}
		})
	}
}

// TestServiceGivesUp does not wait for ever, nor for what waiting does not fixes.
func TestServiceGivesUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(s *session)
		want  string
	}{
		"no Postgres": {func(s *session) {
			s.set("DATABASE_URL", "postgres://u:hunter2@"+closedPort+"/x?sslmode=disable")
			s.set("REVALIDATOR_START_WAIT", "200ms")
		}, "is it running where DATABASE_URL says?"},
		"a newer schema": {func(s *session) {
			s.exec(t, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
		}, "upgrade the program"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			test.spoil(s)
			service := s.start(t, nil, "scheduler")
			if code := service.wait(t); code != terminal.ExitFailure || !strings.Contains(service.stderr.text(), test.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, terminal.ExitFailure, test.want, service.stderr.text())
			}
			if strings.Contains(service.stderr.text(), "hunter2") {
				t.Error("the log shows the password")
			}
		})
	}
}

// TestServiceIsInterruptedWhileItWaits ends at once.
func TestServiceIsInterruptedWhileItWaits(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("DATABASE_URL", "postgres://u:hunter2@"+closedPort+"/x?sslmode=disable")
	for _, name := range []string{"scheduler", "worker", "ui"} {
		service := s.start(t, nil, name)
		service.stderr.waitFor(t, `waiting.*for=postgres`)
		if code := service.stop(t); code != terminal.ExitOK {
			t.Errorf("%s: exit code %d, want %d:\n%s", name, code, terminal.ExitOK, service.stderr.text())
		}
	}
}
