package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/devstack"
	"revalidator/internal/dev/devstack/pgtest"
)

// given stands for a running Postgres, so that most tests need not start one.
// Nothing connects to it.
const given = "postgres://given.example/postgres?sslmode=disable&x=1"

func newProgram(t *testing.T, postgresURL string) (program, *bytes.Buffer) {
	t.Helper()
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	stdout := &bytes.Buffer{}
	return program{
		stdin:  stdin,
		stdout: stdout,
		stderr: t.Output(),
		getenv: func(name string) string {
			if name == pgtest.URLVariable {
				return postgresURL
			}
			return ""
		},
		install: func(context.Context, io.Writer, ...devstack.Tool) error { return devstack.ErrNotInstalled },
		has:     func(devstack.Tool) bool { return false },
		environ: []string{"PATH=" + os.Getenv("PATH"), "REDIS_URL=of another"},
	}, stdout
}

func TestRun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string
	}{
		{"output", []string{"--", "echo", "-n", "--durable"}, 0, "--durable"},
		{"environment", []string{"sh", "-c", `printf "$DATABASE_URL $REVALIDATOR_TEST_POSTGRES_URL ${REDIS_URL%%:*}"`}, 0, given + " " + given + " redis"},
		{"exit code", []string{"sh", "-c", "exit 7"}, 7, ""},
		{"killed", []string{"sh", "-c", "kill -9 $$"}, exitSignal + 9, ""},
		{"no such command", []string{"/no/such/command"}, exitNotStarted, ""},
		{"no such flag", []string{"--fragile"}, exitUsage, ""},
		{"help", []string{"--help"}, 0, ""},
		{"race detector without a compiler", []string{"echo", "-n", "go", "test", "-race", "./..."}, 0, "go test ./..."},
		{"goes on where nothing can be installed", []string{"--install", "echo", "-n", "done"}, 0, "done"},
		{"fails where nothing can be installed", []string{"--setup"}, exitFailure, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			program, stdout := newProgram(t, given)
			if code := program.run(t.Context(), test.args); code != test.code {
				t.Errorf("exit code: got %d, want %d", code, test.code)
			}
			if diff := cmp.Diff(test.stdout, stdout.String()); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunStartsPostgres(t *testing.T) {
	t.Parallel()
	// The server of the other tests reports whether one can be had at all.
	pgtest.Database(t, "devstack", func(context.Context, string) error { return nil })
	program, stdout := newProgram(t, "")
	if code := program.run(t.Context(), []string{"sh", "-c", `printf "$DATABASE_URL"`}); code != 0 {
		t.Fatalf("exit code: got %d, want 0", code)
	}
	if got := stdout.String(); !strings.HasPrefix(got, "postgres://postgres:") {
		t.Errorf("DATABASE_URL: got %q, want a URL of the user postgres", got)
	}
}

func TestRunWithoutCommand(t *testing.T) {
	t.Parallel()
	program, _ := newProgram(t, given)
	reader, writer := io.Pipe()
	program.stdout = writer
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- program.run(ctx, nil) }()

	lines := bufio.NewScanner(reader)
	var got []string
	for len(got) < 3 && lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "=")
		got = append(got, name)
	}
	want := []string{"export 'REVALIDATOR_TEST_POSTGRES_URL", "export 'DATABASE_URL", "export 'REDIS_URL"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	select {
	case code := <-ended:
		t.Fatalf("it ended with %d before Ctrl-C", code)
	default:
	}
	interrupt()
	if code := <-ended; code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		signal os.Signal
		code   int
	}{
		{"interrupt", os.Interrupt, 3},
		{"terminate", syscall.SIGTERM, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			program, _ := newProgram(t, given)
			signals := make(chan os.Signal, 1)
			program.signals = signals
			reader, writer := io.Pipe()
			program.stdout = writer
			ended := make(chan int, 1)
			go func() {
				// A shell runs a trap between two commands. Ten seconds are a
				// signal that got lost.
				const script = `trap 'exit 3' INT; trap 'exit 4' TERM; echo ready; for i in $(seq 200); do sleep 0.05; done`
				ended <- program.run(t.Context(), []string{"sh", "-c", script})
				writer.Close()
			}()
			if _, err := bufio.NewReader(reader).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			signals <- test.signal
			if code := <-ended; code != test.code {
				t.Errorf("exit code: got %d, want %d", code, test.code)
			}
		})
	}
}
