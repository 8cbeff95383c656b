package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"revalidator/internal/terminal"
)

// freeAddr is an address that a command can be told to listen on.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// get asks for a page, and returns its status and text.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	reply, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(body)
}

// TestUI serves the pages until it is interrupted.
func TestUI(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	ui := s.start(t, nil, "ui", "--addr", "127.0.0.1:0")
	url := ui.stderr.waitFor(t, `serving (http://127\.0\.0\.1:\d+/)`)[1]
	for path, want := range map[string]string{
		"": "<html", "healthz": "ok", "readyz": `"postgres":"ok"`, "metrics": "go_goroutines",
		"api/queues": "receipts-large", "api/scheduler_entries": `"spec":"0 2 * * * (UTC)","task_payload":"","task_type":"nightly run"`,
	} {
		if code, body := get(t, url+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("/%s: got %d without %q:\n%.200s", path, code, want, body)
		}
	}
	if code := ui.stop(t); code != terminal.ExitOK {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitOK)
	}
	if code, _ := get(t, url+"healthz"); code != 0 {
		t.Error("the pages are still served")
	}
}

// TestUIPortTaken has another program listen there.
func TestUIPortTaken(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	o := s.run(t, "ui", "--addr", deaf(t))
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "address already in use") || strings.Contains(o.stderr, "serving http") {
		t.Errorf("got exit code %d and %q, want %d and that the address is in use", o.code, o.stderr, terminal.ExitFailure)
	}
}

// TestServices starts and stops a scheduler and a worker, with their health
// beside them.
func TestServices(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"scheduler", "worker"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			addr := freeAddr(t)
			s.set("REVALIDATOR_METRICS_ADDR", addr)
			service := s.start(t, nil, name)
			service.stderr.waitFor(t, name+" started")
			eventually(t, "the service is ready", func() bool {
				code, _ := get(t, "http://"+addr+"/readyz")
				return code == http.StatusOK
			})
			if code := service.stop(t); code != terminal.ExitOK {
				t.Errorf("exit code: got %d, want %d\n%s", code, terminal.ExitOK, service.stderr.text())
			}
			if !strings.Contains(service.stderr.text(), name+" stopped") {
				t.Errorf("the end was not logged:\n%s", service.stderr.text())
			}
		})
	}
}

// TestServicePortTaken ends a service that cannot show its health: its
// supervisor would take it for dead.
func TestServicePortTaken(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("REVALIDATOR_METRICS_ADDR", deaf(t))
	service := s.start(t, nil, "scheduler")
	if code := service.wait(t); code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d\n%s", code, terminal.ExitFailure, service.stderr.text())
	}
}

// TestNightlyRun has the scheduler open the run of a slot that nobody opened,
// and a worker do it.
func TestNightlyRun(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 6)
	// The slot was an hour ago.
	s.set("REVALIDATOR_SCHEDULE", time.Now().UTC().Add(-time.Hour).Format("4 15")+" * * *")
	scheduler, worker := s.start(t, nil, "scheduler"), s.start(t, nil, "worker")
	scheduler.stderr.waitFor(t, "run finished.* succeeded=6")
	scheduler.stop(t)
	worker.stop(t)
	if o := s.must(t, "status"); !strings.Contains(o.stdout, "nightly") {
		t.Errorf("status shows no nightly run:\n%s", o.stdout)
	}
}
