package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/devstack/redistest"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/keyring"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

var update = flag.Bool("update", false, "rewrite the golden files with what the program prints")

// session is a person at work with the program: settings, and a transcript of
// what was typed and printed.
type session struct {
	env        []string
	transcript strings.Builder
	// services are those of openedShop, by name.
	services map[string]*process
}

// outcome is what one command did.
type outcome struct {
	code           int
	stdout, stderr string
}

// newSession has Postgres, Redis and keys of its own. Tests of one test program
// share the servers of Postgres, not the databases.
func newSession(t *testing.T) *session {
	t.Helper()
	return &session{env: []string{
		"DATABASE_URL=" + repositorytest.URL(t).Reveal(),
		"REDIS_URL=" + redistest.Start(t),
		"REVALIDATOR_KEYS=" + newKeys(t),
	}}
}

func newKeys(t *testing.T) string {
	t.Helper()
	keys, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return keys.Reveal()
}

// set changes a setting; an empty value removes it.
func (s *session) set(name, value string) {
	var kept []string
	for _, variable := range s.env {
		if !strings.HasPrefix(variable, name+"=") {
			kept = append(kept, variable)
		}
	}
	if value != "" {
		kept = append(kept, name+"="+value)
	}
	s.env = kept
}

func (s *session) get(name string) string {
	for _, variable := range s.env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// db opens the session's database, to look at what the commands left there.
func (s *session) db(t *testing.T) *repository.DB {
	t.Helper()
	db, err := repository.Open(repository.Config{URL: secret.New(s.get("DATABASE_URL"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// run runs a command line with nothing on standard input.
func (s *session) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return s.runWith(t, "", args...)
}

func (s *session) runWith(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	// The Redis client has one log for the whole process, and may write to it
	// when the command has ended.
	var stdout bytes.Buffer
	stderr := newOutput()
	code := execute(t, args, stdin, &stdout, stderr, s.env)
	o := outcome{code, stdout.String(), stderr.text()}
	s.record(args, o)
	return o
}

// binaryVariable names a built program to test in the place of this package's
// run, which is all of it but the process.
const binaryVariable = "REVALIDATOR_TEST_BINARY"

// execute runs a command line to its end and returns the exit code.
func execute(t *testing.T, args []string, stdin string, stdout, stderr io.Writer, env []string) int {
	t.Helper()
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		return run(t.Context(), args, strings.NewReader(stdin), stdout, stderr, env)
	}
	c := exec.CommandContext(t.Context(), binary, args...)
	// No environment at all would mean this process's own.
	c.Env = append([]string{}, env...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), stdout, stderr
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode()
}

// record adds a command to the transcript: what was typed after "$", standard
// output as it is, standard error after "!".
func (s *session) record(args []string, o outcome) {
	fmt.Fprintf(&s.transcript, "$ revalidator %s\n%s", strings.Join(args, " "), o.stdout)
	for line := range strings.Lines(o.stderr) {
		s.transcript.WriteString("! " + line)
	}
	if o.code != terminal.ExitOK {
		fmt.Fprintf(&s.transcript, "(exit code %d)\n", o.code)
	}
	s.transcript.WriteString("\n")
}

// must runs a command that a test needs to succeed.
func (s *session) must(t *testing.T, args ...string) outcome {
	t.Helper()
	o := s.run(t, args...)
	if o.code != terminal.ExitOK {
		t.Fatalf("revalidator %s: exit code %d\n%s", strings.Join(args, " "), o.code, o.stderr)
	}
	return o
}

// changing is what differs from run to run, and what stands for it.
var changing = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "<time>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "<time>"},
	{regexp.MustCompile(`\d\d-\d\d \d\d:\d\d`), "<time>"},
	{regexp.MustCompile(`\((now|[^()]+ (ago|from now))\)`), "(<ago>)"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?(h|m|s|ms))+\n`), "<duration>\n"},
	{regexp.MustCompile(`(installation,? |"installation": ")[0-9a-f]{12}( \(database [^)]*\))?`), "${1}<installation>"},
	{regexp.MustCompile(`"database": "[^"]*"`), `"database": "<database>"`},
	{regexp.MustCompile(`[^\s"]+@\S+, pid \d+`), "<who>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d{5}`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`fingerprint [0-9a-f]{8}`), "fingerprint <fingerprint>"},
	{regexp.MustCompile(`/\S*/(Test[^/\s]+/)?\d{3}/`), "<folder>/"},
	{regexp.MustCompile(`commit [0-9a-f]{40}`), "commit <commit>"},
}

func normalized(text string) string {
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.name)
	}
	return text
}

// golden compares a text with testdata/golden/name, or rewrites that with
// -update. What differs from run to run is left aside.
func golden(t *testing.T, name, text string) {
	t.Helper()
	goldenExactly(t, name, normalized(text))
}

// goldenExactly is golden for a text that is the same each time.
func goldenExactly(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got; go test ./cmd/revalidator -update rewrites it):\n%s", file, diff)
	}
}

// process is a command that runs until it is stopped.
type process struct {
	stderr *output
	cancel context.CancelFunc
	ended  chan struct{}
	code   int // once ended is closed
}

// start runs a command next to the test, and stops it when the test ends.
func (s *session) start(t *testing.T, stdin io.Reader, args ...string) *process {
	t.Helper()
	return s.startWith(t, stdin, io.Discard, args...)
}

// startWith is start for a command whose standard output is looked at.
func (s *session) startWith(t *testing.T, stdin io.Reader, stdout io.Writer, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{stderr: newOutput(), cancel: cancel, ended: make(chan struct{})}
	env := s.env // as it is now: the test may go on to change it
	go func() {
		defer close(p.ended)
		p.code = run(ctx, args, stdin, stdout, p.stderr, env)
	}()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// stop interrupts the command and returns its exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	p.cancel()
	return p.wait(t)
}

// deadline is longer than anything takes that a test waits for.
const deadline = 2 * time.Minute

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		t.Fatalf("the command does not end; it printed\n%s", p.stderr.text())
	}
	return p.code
}

// output collects what is written and lets a test wait for it.
type output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	written chan struct{}
}

func newOutput() *output { return &output{written: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.written <- struct{}{}:
	default:
	}
	return o.buffer.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// waitFor returns once a pattern has been written, with the match.
func (o *output) waitFor(t *testing.T, pattern string) []string {
	t.Helper()
	wanted := regexp.MustCompile(pattern)
	timeout := time.After(deadline)
	for {
		if match := wanted.FindStringSubmatch(o.text()); match != nil {
			return match
		}
		select {
		case <-o.written:
		case <-timeout:
			t.Fatalf("%q was not printed, but\n%s", pattern, o.text())
		}
	}
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(deadline)
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not within %s", what, deadline)
		}
	}
}
