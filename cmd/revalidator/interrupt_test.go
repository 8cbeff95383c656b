package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"revalidator/internal/terminal"
)

// TestInterruptedInput interrupts commands that wait for a pipe to which nobody
// writes.
func TestInterruptedInput(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.storyStore(t, stories()[0])
	s.must(t, "apps", "add", readerApp)
	before := s.rows(t)["shared_secrets"]
	for _, args := range [][]string{
		{"secrets", "add", "--app", readerApp, "--file", "-"},
		{"check", receiptFile(t, sim, 0), "--secret-file", "-"},
		{"check", "-"},
		{"import", "-"},
		{"backfill", "--ids", "-"},
	} {
		stdin := &waiting{asked: make(chan struct{}), end: make(chan struct{})}
		p := s.start(t, stdin, args...)
		<-stdin.asked
		if code := p.stop(t); code != terminal.ExitFailure || !strings.Contains(p.stderr.text(), "interrupted") {
			t.Errorf("%q: exit code %d and %q", args, code, p.stderr.text())
		}
		close(stdin.end)
	}
	if got := s.rows(t)["shared_secrets"]; got != before {
		t.Errorf("secrets: got %d, want %d as before", got, before)
	}
}

// TestInterruptedNamedPipe interrupts commands that wait for somebody to open the
// other end of their file.
func TestInterruptedNamedPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "import"} {
		p := (&session{}).start(t, nil, command, pipe)
		if code := p.stop(t); code != terminal.ExitFailure || !strings.Contains(p.stderr.text(), "interrupted") {
			t.Errorf("%s: exit code %d and %q", command, code, p.stderr.text())
		}
	}
}

// TestInterruptedAtApple interrupts commands that wait for Apple: what was broken
// off is not told as a result.
func TestInterruptedAtApple(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 4)
	asked := make(chan struct{}, 100)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // only then is it known that the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	s.set("REVALIDATOR_APPLE_PRODUCTION_URL", silent.URL)
	s.set("REVALIDATOR_APPLE_SANDBOX_URL", silent.URL)
	for _, line := range []string{"check " + receiptFile(t, sim, 0), "secrets verify", "doctor"} {
		ctx, interrupt := context.WithCancel(t.Context())
		var stdout, stderr bytes.Buffer
		code := make(chan int, 1)
		go func() { code <- run(ctx, strings.Fields(line), nil, &stdout, &stderr, s.env) }()
		<-asked
		interrupt()
		if got := <-code; got != terminal.ExitFailure || stdout.Len() > 0 || stderr.String() != "revalidator: interrupted\n" {
			t.Errorf("%s: exit code %d, %q and %q", line, got, stdout.String(), stderr.String())
		}
	}
}

// waiting is standard input that has nothing until its end.
type waiting struct{ asked, end chan struct{} }

func (w *waiting) Read([]byte) (int, error) {
	close(w.asked)
	<-w.end
	return 0, io.EOF
}

// pauseVariable has this test program wait for signals, with a pause.
const pauseVariable = "REVALIDATOR_TEST_PAUSE"

// TestSignals has a process signalled twice: at once, as timeout(1) does, which
// leaves it time to end well, and by somebody who has waited long enough.
func TestSignals(t *testing.T) {
	t.Parallel()
	if pause := os.Getenv(pauseVariable); pause != "" {
		d, err := time.ParseDuration(pause)
		if err != nil {
			t.Fatal(err)
		}
		ctx := interruption(d)
		fmt.Fprintln(os.Stderr, "ready")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "ending")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(terminal.ExitOK)
	}
	atOnce := startSignalled(t, "1h")
	atOnce.interrupt(t)
	_ = atOnce.stdin.Close()
	if err := atOnce.process.Wait(); err != nil {
		t.Errorf("twice at once: %v, want it to end as it will", err)
	}

	later := startSignalled(t, "1ns")
	ended := make(chan error, 1)
	go func() { ended <- later.process.Wait() }()
	eventually(t, "the second signal kills", func() bool {
		_ = later.process.Process.Signal(syscall.SIGINT)
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("later: %v, want it killed", err)
			}
			return true
		default:
			return false
		}
	})
}

// signalled is a process that was signalled once.
type signalled struct {
	process *exec.Cmd
	stdin   io.WriteCloser
}

func startSignalled(t *testing.T, pause string) signalled {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSignals$")
	c.Env = append(os.Environ(), pauseVariable+"="+pause)
	stderr := newOutput()
	c.Stderr = stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := signalled{c, stdin}
	stderr.waitFor(t, "ready")
	s.interrupt(t)
	stderr.waitFor(t, "ending")
	return s
}

func (s signalled) interrupt(t *testing.T) {
	t.Helper()
	if err := s.process.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}
