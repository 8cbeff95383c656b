package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
	"revalidator/jobs"
	"revalidator/repository"
)

// measured are figures that differ from run to run.
var measured = regexp.MustCompile(`("(?:elapsed_seconds|average_per_second|seconds_left)": |finished in |running for )[\d.hms]+`)

// rate is a pace that differs from run to run.
var rate = regexp.MustCompile(`\d+\.\d/s`)

// orphan opens a run over what is due, which no process feeds.
func (s *session) orphan(t *testing.T, db *repository.DB) {
	t.Helper()
	now := time.Now().UTC()
	run, err := db.OpenRun(t.Context(), runs.Run{
		Kind: runs.Nightly, ScheduledFor: appStart, Cutoff: now, Deadline: now.Add(time.Hour), StartedBy: "ann@desk, pid 7",
	}, runs.Lease{Owner: "nobody", Until: now.Add(-time.Minute)}, now)
	if err == nil {
		err = db.CountRun(t.Context(), run, now)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestStatusOfTrouble has everything at once that status has a word for.
func TestStatusOfTrouble(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 10)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	s.must(t, "apps", "add", "com.example.new")
	s.exec(t, `UPDATE receipts SET next_check_at = '2020-01-01' WHERE id % 2 = 0`)
	s.exec(t, `UPDATE receipts SET next_check_at = NULL, state = 'quarantined' WHERE id = 1`)
	s.exec(t, `UPDATE shared_secrets SET created_at = '2020-01-01' WHERE bundle_id = 'com.example.fitness'`)
	s.orphan(t, s.db(t))
	s.must(t, "apps", "pause", fitnessApp, "--reason", "moving to another team")
	s.transcript.Reset()
	s.must(t, "status")
	s.must(t, "status", "1")
	s.must(t, "status", "2")
	s.run(t, "status", "3")
	s.must(t, "status", "--json")
	s.must(t, "status", "1", "--json")
	checkWidth(t, results(s.transcript.String()))
	text := measured.ReplaceAllString(s.transcript.String(), "${1}<figure>")
	golden(t, "status.txt", rate.ReplaceAllString(text, "<pace>/s"))
}

// TestStatusOfServices looks while a scheduler and a worker are there.
func TestStatusOfServices(t *testing.T) {
	t.Parallel()
	s, _ := openedShop(t)
	o := s.must(t, "status")
	for _, want := range []string{"Workers        1 running\n", "Schedulers     1 running\n"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("%q is missing:\n%s", want, o.stdout)
		}
	}
	var r report.Status
	if err := json.Unmarshal([]byte(s.must(t, "status", "--json").stdout), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Schedulers) != 1 || len(r.Workers) != 1 || r.Workers[0].PID != os.Getpid() {
		t.Fatalf("got schedulers %q and workers %+v, want one of each", r.Schedulers, r.Workers)
	}
	if diff := cmp.Diff(jobs.Queues(), r.Workers[0].Queues); diff != "" {
		t.Errorf("queues of the worker (-want +got):\n%s", diff)
	}
}

// TestStatusWatch sees a change on the terminal, and finds it as it was.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("NO_COLOR", "1")
	term := newTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"status", "--watch"}, nil, term.program, io.Discard, s.env)
	}()
	term.screen.waitFor(t, regexp.QuoteMeta("\x1b[?1049h\x1b[?25l\x1b[H")+"No runs yet")
	term.screen.waitFor(t, `until Ctrl-C\.\x1b\[K\x1b\[J`)
	s.must(t, "apps", "add", readerApp)
	term.screen.waitFor(t, regexp.QuoteMeta("\x1b[H")+`No runs yet[^\x00]*com\.example\.reader has none`)
	interrupt()
	if code := <-ended; code != terminal.ExitOK {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitOK)
	}
	term.close()
	_, after, left := strings.Cut(term.screen.text(), "\x1b[?25h\x1b[?1049l")
	if !left || !strings.Contains(after, "com.example.reader has none") || strings.Contains(after, "\x1b") {
		t.Errorf("the terminal is left with %q, want the last look", after)
	}
}

// TestStatusWatchGoesOn has Redis away for a while.
func TestStatusWatchGoesOn(t *testing.T) {
	t.Parallel()
	term := newTerminal(t)
	p := &program{Terminal: terminal.Terminal{Out: term.program}}
	count := 0
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	err := p.watchStatus(ctx, func(ctx context.Context, _ *report.Paces) (look, error) {
		switch count++; count {
		case 2:
			return look{}, io.ErrUnexpectedEOF
		case 4:
			interrupt()
		}
		return look{text: func(out *terminal.Page) { statusText(out, new(report.Status)) }}, nil
	})
	if err != nil {
		t.Error(err)
	}
	term.close()
	if n := strings.Count(term.screen.text(), "not refreshed since: unexpected EOF"); n != 1 {
		t.Errorf("the trouble was shown %d times, want once:\n%q", n, term.screen.text())
	}
}

// TestStatusWatchWithoutTerminal has one status follow the other, in a pipe.
func TestStatusWatchWithoutTerminal(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "migrate")
	for _, test := range []struct{ name, want string }{{"", "No runs yet"}, {"--json", `"runs": \[\]`}} {
		ctx, interrupt := context.WithCancel(t.Context())
		out := newOutput()
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, strings.Fields("status --watch "+test.name), nil, out, io.Discard, s.env)
		}()
		out.waitFor(t, test.want+`[^\x00]*`+test.want)
		interrupt()
		if code := <-ended; code != terminal.ExitOK {
			t.Errorf("%q: exit code: got %d, want %d", test.name, code, terminal.ExitOK)
		}
		if strings.Contains(out.text(), "\x1b") {
			t.Errorf("%q: it moves the cursor of a pipe: %q", test.name, out.text())
		}
	}
}

// TestStatusWatchFits has as much to tell as there may be, on small terminals: the
// runs and the running ones are there, and so is the last line.
func TestStatusWatchFits(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ columns, rows uint16 }{{80, 24}, {60, 20}} {
		term := newTerminalOf(t, size.columns, size.rows)
		p := &program{Terminal: terminal.Terminal{Out: term.program}}
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		err := p.watchStatus(ctx, func(context.Context, *report.Paces) (look, error) {
			defer interrupt()
			return look{text: func(out *terminal.Page) { statusText(out, fullStatus()) }}, nil
		})
		if err != nil {
			t.Error(err)
		}
		term.close()
		screen, _, _ := strings.Cut(term.screen.text(), "\x1b[?25h")
		_, screen, _ = strings.Cut(screen, "\x1b[H")
		screen = regexp.MustCompile("\x1b\\[[0-9]*[mKJ]").ReplaceAllString(screen, "")
		lines := strings.Split(strings.ReplaceAll(screen, "\r", ""), "\n")
		if len(lines) > int(size.rows) {
			t.Errorf("%d lines on a terminal of %d:\n%s", len(lines), size.rows, screen)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > int(size.columns) {
				t.Errorf("wider than %d columns: %q", size.columns, line)
			}
		}
		for _, want := range []string{"RUN ", "STATE", "FAILED", "1000002", "of 1,000 done", "Due now", "Workers", "Schedulers", "until Ctrl-C."} {
			if !strings.Contains(screen, want) {
				t.Errorf("%d columns: %q is missing:\n%s", size.columns, want, screen)
			}
		}
	}
}

// fullStatus is of an installation with many runs, of which some are running.
func fullStatus() *report.Status {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	due, left, pace := int64(1000), int64(400), 12.5
	r := &report.Status{At: now, Due: report.Due{Receipts: 100_000, More: true, Oldest: &now, OverdueSince: &now}}
	for id := int64(1_000_002); id > 1_000_000-30; id-- {
		line := report.RunLine{Totals: runs.Totals{Run: runs.Run{ID: id, Kind: runs.Backfill}, StartedAt: now.Add(-time.Hour), State: runs.Finished}, Fed: true}
		line.Due, line.InRun = &due, new(int64)
		if id > 1_000_000 {
			line.State, line.InRun, line.Fed = runs.Running, &left, false
			line.StartedBy = "somebody@a-machine-with-a-long-name.example.com"
			line.Progress = &report.Progress{AveragePerSecond: pace, PerSecond: &pace, SecondsLeft: &pace}
		}
		r.Runs = append(r.Runs, line)
	}
	for _, tally := range []*repository.Tally{&r.Receipts, &r.Subscriptions} {
		tally.Counts = map[string]int64{"valid": 100_000, "quarantined": 1000, "wrong_app": 500, "billing_retry": 7000}
	}
	r.Queues = []report.Lane{{Queue: "receipts", Waiting: 1000}, {Queue: "receipts-large"}}
	r.Workers, r.Schedulers = make([]report.Worker, 3), []string{"a"}
	return r
}

// TestDueText is what due receipts read like, on a page without colors.
func TestDueText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	oldest, slot := now.Add(-50*time.Hour), now.Add(-34*time.Hour)
	tests := []struct {
		name string
		due  report.Due
		want []string
	}{
		{"none", report.Due{}, nil},
		{"since the last run", report.Due{Receipts: 7, Oldest: &oldest}, []string{"7", "the oldest since 2026-02-27 10:00:00 UTC (2 days ago)"}},
		{"many and overdue", report.Due{Receipts: 100_000, More: true, Oldest: &oldest, OverdueSince: &slot}, []string{
			"more than 100,000", "the oldest since 2026-02-27 10:00:00 UTC (2 days ago)", "overdue since the run of 2026-02-28 02:00:00 UTC",
		}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, dueText(test.due, now, new(terminal.Page))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestWaitingForRetries has a run whose receipts all wait: the progress line and status
// say until when, and neither makes up a time left.
func TestWaitingForRetries(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 2)
	s.set("REVALIDATOR_RETRY_BASE", "10m")
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultHTTP, Rate: 1, Status: 503}}); err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"run", "--worker"}, nil, io.Discard, term.program, s.env)
	}()
	line := term.screen.waitFor(t, `run 1: 2 wait for a retry, the next at \d\d:\d\d UTC[^\r]*\r[^\r]*\r`)[0]
	if strings.Contains(line, "[") {
		t.Errorf("the progress line has a time left: %q", line)
	}
	o := s.must(t, "status")
	if !regexp.MustCompile(`\n2 wait for a retry, the next at \d\d:\d\d UTC\n`).MatchString(o.stdout) || strings.Contains(o.stdout, " left") {
		t.Errorf("status does not say that both wait, or for how long it is:\n%s", o.stdout)
	}
	interrupt()
	<-ended
	term.close()
}
