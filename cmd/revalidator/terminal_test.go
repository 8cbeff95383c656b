package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"revalidator/internal/terminal"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// screenOf is a pseudo-terminal: a person's side and the program's.
type screenOf struct {
	person, program *os.File
	screen          *output
	read            chan struct{} // closed when the screen has ended
}

func newTerminal(t *testing.T) *screenOf {
	t.Helper()
	return newTerminalOf(t, 80, 24)
}

func newTerminalOf(t *testing.T, columns, rows uint16) *screenOf {
	t.Helper()
	person, program, err := pty.Open()
	if err != nil {
		t.Skipf("this test needs pseudo-terminals: %v", err)
	}
	if err := pty.Setsize(person, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	term := &screenOf{person: person, program: program, screen: newOutput(), read: make(chan struct{})}
	go func() {
		defer close(term.read)
		_, _ = io.Copy(term.screen, person)
	}()
	t.Cleanup(func() {
		term.close()
		_ = person.Close()
	})
	return term
}

// close ends the program's side, and returns when all of it was read.
func (t *screenOf) close() {
	_ = t.program.Close()
	<-t.read
}

// echoes reports whether the terminal shows what is typed.
func (t *screenOf) echoes(test *testing.T) bool {
	test.Helper()
	state, err := unix.IoctlGetTermios(int(t.person.Fd()), unix.TCGETS)
	if err != nil {
		test.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// TestSecretPrompt types a secret, which does not show.
func TestSecretPrompt(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	term := newTerminal(t)
	var stdout bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"secrets", "add", "--app", readerApp}, term.program, &stdout, term.program, s.env)
	}()
	term.screen.waitFor(t, "Shared secret: ")
	eventually(t, "the terminal hides what is typed", func() bool { return !term.echoes(t) })
	if _, err := term.person.WriteString(someSecret + "\n"); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != terminal.ExitOK {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitOK)
	}
	if !term.echoes(t) {
		t.Error("the terminal goes on hiding what is typed")
	}
	term.close()
	if got, want := term.screen.text(), "Shared secret: \r\n"; got != want {
		t.Errorf("screen: got %q, want %q", got, want)
	}
	if !strings.HasPrefix(stdout.String(), "added shared secret 1, ") {
		t.Errorf("standard output: got %q", stdout.String())
	}
}

// TestSecretPromptInterrupted leaves a terminal that shows what is typed.
func TestSecretPromptInterrupted(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	before := s.rows(t)["shared_secrets"]
	term := newTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stderr := newOutput()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"secrets", "add", "--app", readerApp}, term.program, io.Discard, stderr, s.env)
	}()
	eventually(t, "the terminal hides what is typed", func() bool { return !term.echoes(t) })
	interrupt()
	if code := <-ended; code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitFailure)
	}
	if !term.echoes(t) {
		t.Error("the terminal goes on hiding what is typed")
	}
	if got, want := stderr.text(), "Shared secret: \nrevalidator: interrupted\n"; got != want {
		t.Errorf("standard error: got %q, want %q", got, want)
	}
	if got := s.rows(t)["shared_secrets"]; got != before {
		t.Errorf("secrets: got %d, want %d as before", got, before)
	}
	_, _ = term.person.WriteString("\n") // lets the read end
}

// TestBars looks at the progress bars on a terminal of 80 columns.
func TestBars(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 20)
	again := receiptsFile(t, sim)
	lines, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, last string
		args       []string
	}{
		// The bar of an import leaves nothing, the bar of a run the whole bar.
		{"import", `^(\r *)?\r?$`, []string{"import", again}},
		{"import of a pipe", `^(\r *)?\r?$`, []string{"import", "-"}},
		{"run", `\rrun 1 100% \|█+\| \(20/20, [^)]*\)\r\n$`, []string{"run", "--worker"}},
	}
	for _, test := range tests {
		term := newTerminal(t)
		var stdout bytes.Buffer
		if code := run(t.Context(), test.args, bytes.NewReader(lines), &stdout, term.program, s.env); code != terminal.ExitOK {
			t.Errorf("%s: exit code %d", test.name, code)
		}
		term.close()
		screen := term.screen.text()
		for stroke := range strings.FieldsFuncSeq(screen, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if n := utf8.RuneCountInString(stroke); n > 80 {
				t.Errorf("%s: %d columns: %q", test.name, n, stroke)
			}
		}
		if last := lastStroke(screen); !regexp.MustCompile(test.last).MatchString(last) {
			t.Errorf("%s: the screen ends with %q, want %s", test.name, last, test.last)
		}
	}
}

// lastStroke is what the last drawing of a bar left.
func lastStroke(screen string) string {
	return screen[max(0, strings.LastIndex(strings.TrimRight(screen, "\r\n"), "\r")):]
}
