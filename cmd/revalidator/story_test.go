package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack/pgtest"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// emptyDatabase is a database without the program's tables.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	return pgtest.Database(t, "postgres_empty", func(context.Context, string) error { return nil })
}

// TestStory is a first set-up, a run and a look at the result, as the README
// tells it.
func TestStory(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("DATABASE_URL", emptyDatabase(t))
	s.run(t, "status") // says what to do
	s.must(t, "migrate")
	s.must(t, "migrate") // once more changes nothing
	s.must(t, "apps", "list")
	s.must(t, "status")
	sim := s.openShop(t, 60)
	s.must(t, "apps", "list")
	s.must(t, "import", receiptsFile(t, sim)) // once more changes nothing
	s.must(t, "status")
	s.must(t, "run", "--worker")
	s.must(t, "status")
	sim.Clock().Advance(31 * 24 * time.Hour)
	s.must(t, "run", "--worker")
	checkWidth(t, results(s.transcript.String()))
	checkSilence(t, s, sim.Secrets(readerApp)[0], sim.Secrets(fitnessApp)[0])
	golden(t, "story.txt", s.transcript.String())
}

// results is what went to standard output.
func results(transcript string) string {
	var kept strings.Builder
	for line := range strings.Lines(transcript) {
		if !strings.HasPrefix(line, "! ") && !strings.HasPrefix(line, "$ ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// checkSilence holds everything that was printed to having shown no secret.
func checkSilence(t *testing.T, s *session, secrets ...string) {
	t.Helper()
	printed := regexp.MustCompile(`(?m)^\$ .*`).ReplaceAllString(s.transcript.String(), "")
	for _, secret := range secrets {
		if strings.Contains(printed, secret) {
			t.Error("a secret was printed")
		}
	}
}

// TestRunWithWorkers has the work done by workers of other processes, which
// were there before the run.
func TestRunWithWorkers(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 40)
	worker := s.start(t, nil, "worker")
	worker.stderr.waitFor(t, "worker started")
	o := s.must(t, "run")
	if !strings.Contains(o.stdout, "40 succeeded") {
		t.Errorf("the run did not do its 40 receipts:\n%s", o.stdout)
	}
	if strings.Contains(o.stderr, "no worker") {
		t.Errorf("a worker was missed that was there:\n%s", o.stderr)
	}
	if code := worker.stop(t); code != terminal.ExitOK {
		t.Errorf("exit code of the worker: got %d, want %d\n%s", code, terminal.ExitOK, worker.stderr.text())
	}
	worker.stderr.waitFor(t, "worker stopped")
}

// TestRunWithFailures has every request fail. The run is done all the same, and
// says so with an exit code of its own.
func TestRunWithFailures(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 4)
	s.set("REVALIDATOR_RETRY_LIMIT", "1")
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultHTTP, Rate: 1, Status: 503}}); err != nil {
		t.Fatal(err)
	}
	o := s.run(t, "run", "--worker")
	if o.code != terminal.ExitFailures {
		t.Errorf("exit code: got %d, want %d", o.code, terminal.ExitFailures)
	}
	golden(t, "failures.txt", o.stdout+lastLine(o.stderr))
}

func lastLine(text string) string {
	text = strings.TrimSuffix(text, "\n")
	return text[strings.LastIndex(text, "\n")+1:] + "\n"
}

// TestRunLogsAsJSON holds standard error to nothing but JSON where that is
// asked for, so that a collector can read it.
func TestRunLogsAsJSON(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("REVALIDATOR_LOG_FORMAT", "json")
	o := s.must(t, "run")
	for line := range strings.Lines(o.stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if o.stderr == "" {
		t.Error("nothing was logged")
	}
}

// TestRunWithoutWorker waits until the missing worker is told of, starts one,
// and sees the run end.
func TestRunWithoutWorker(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 4)
	run := s.start(t, nil, "run")
	run.stderr.waitFor(t, "no worker is running")
	worker := s.start(t, nil, "worker")
	if code := run.wait(t); code != terminal.ExitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, terminal.ExitOK, run.stderr.text())
	}
	if n := strings.Count(run.stderr.text(), "no worker is running"); n != 1 {
		t.Errorf("the missing worker was told of %d times, want once", n)
	}
	worker.stop(t)
}

// TestRunInterrupted ends a run that waits for a worker.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 4)
	run := s.start(t, nil, "run")
	db := s.db(t)
	eventually(t, "receipts are claimed", func() bool {
		claimed, err := db.ClaimedCount(t.Context())
		return err == nil && claimed.Total() == 4
	})
	if code := run.stop(t); code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitFailure)
	}
	want := "revalidator: run 1 interrupted: workers finish what they have; a scheduler continues it, or the next 'revalidator run'\n"
	if got := run.stderr.text(); got != want {
		t.Errorf("standard error: got %q, want %q", got, want)
	}
}

// TestMissingWorkers is the table of when a missing worker is looked for.
func TestMissingWorkers(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	type look struct {
		at   time.Duration
		done int64
		want bool
	}
	tests := []struct {
		name  string
		looks []look
	}{
		{"at once", []look{{0, 0, false}}},
		{"after a while", []look{{patience - 1, 0, false}, {patience, 0, true}}},
		{"once only", []look{{patience, 0, true}, {3 * patience, 0, false}}},
		{"progress", []look{{patience - 1, 1, false}, {patience, 1, false}, {2*patience - 1, 1, true}}},
		{"done", []look{{patience, 10, false}, {2 * patience, 10, false}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := missingWorkers{since: start}
			for _, l := range test.looks {
				due, left := int64(10), 10-l.done
				if got := m.due(runs.Totals{Figures: runs.Figures{Due: &due, InRun: &left, Done: l.done}}, start.Add(l.at)); got != l.want {
					t.Errorf("after %s with %d done: got %v, want %v", l.at, l.done, got, l.want)
				}
			}
		})
	}
}
