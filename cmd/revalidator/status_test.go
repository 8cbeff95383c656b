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

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"revalidator/internal/ledger"
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
	run, err := db.OpenRun(t.Context(), ledger.Run{
		Kind: ledger.RunNightly, ScheduledFor: appStart, Cutoff: now, Deadline: now.Add(time.Hour), StartedBy: "ann@desk, pid 7",
	}, ledger.Lease{Owner: "nobody", Until: now.Add(-time.Minute)}, now)
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
	var r statusReport
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
	looks := 0
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	err := p.watchScreen(ctx, func(ctx context.Context, _ *paces) (report, error) {
		switch looks++; looks {
		case 2:
			return nil, io.ErrUnexpectedEOF
		case 4:
			interrupt()
		}
		return &statusReport{}, nil
	})
	if err != nil {
		t.Error(err)
	}
	term.close()
	if n := strings.Count(term.screen.text(), "not refreshed since: unexpected EOF"); n != 1 {
		t.Errorf("the trouble was shown %d times, want once:\n%q", n, term.screen.text())
	}
}

// TestStatusWatchRefused is where --watch would fill a file or a pipe.
func TestStatusWatchRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"status", "--watch"}, {"status", "--watch", "--json"}} {
		o := (&session{}).run(t, args...)
		if o.code != terminal.ExitUsage || o.stdout != "" || !strings.Contains(o.stderr, "--watch needs a terminal") {
			t.Errorf("%q: got exit code %d, %q and %q", args, o.code, o.stdout, o.stderr)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	held := "a person said so"
	app := func(name string, due, done int64, paused *string) repository.RunApp {
		left := due - done
		return repository.RunApp{BundleID: name, Due: &due, InRun: &left, Done: done, PausedCode: paused}
	}
	left := func(n int64) *int64 { return &n }
	number := func(f float64) *float64 { return &f }
	tests := []struct {
		name          string
		before, after []repository.RunApp // a second before, and 100 seconds after the start
		want          progress
	}{
		{"one look", nil, []repository.RunApp{app("a", 1100, 100, nil)},
			progress{Left: left(1000), AveragePerSecond: 1, SecondsLeft: number(1000)}},
		{"two looks", []repository.RunApp{app("a", 1100, 90, nil)}, []repository.RunApp{app("a", 1100, 100, nil)},
			progress{Left: left(1000), PerSecond: number(10), AveragePerSecond: 1, SecondsLeft: number(100)}},
		{"the slowest app counts", []repository.RunApp{app("a", 1000, 400, nil), app("b", 1000, 99, nil)},
			[]repository.RunApp{app("a", 1000, 500, nil), app("b", 1000, 100, nil)},
			progress{Left: left(1400), PerSecond: number(101), AveragePerSecond: 6, SecondsLeft: number(900)}},
		{"a paused app does not", nil, []repository.RunApp{app("a", 200, 100, nil), app("b", 1000, 0, &held)},
			progress{Left: left(1100), AveragePerSecond: 1, SecondsLeft: number(100)}},
		{"nothing has moved", nil, []repository.RunApp{app("a", 100, 0, nil)}, progress{Left: left(100)}},
		{"stands still now", []repository.RunApp{app("a", 200, 100, nil)}, []repository.RunApp{app("a", 200, 100, nil)},
			progress{Left: left(100), PerSecond: number(0), AveragePerSecond: 1, SecondsLeft: number(100)}},
		{"all done", nil, []repository.RunApp{app("a", 100, 100, nil)}, progress{Left: left(0), AveragePerSecond: 1}},
		{"not counted yet", nil, []repository.RunApp{{BundleID: "a", Done: 100}}, progress{AveragePerSecond: 1}},
		{"no apps", nil, []repository.RunApp{}, progress{Left: left(0)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			known, now := newPaces(), start.Add(100*time.Second)
			totals := ledger.RunTotals{Run: ledger.Run{ID: 1}, StartedAt: start}
			if test.want.Left != nil {
				totals.InRun = left(0)
			}
			for _, a := range test.after {
				totals.Done += a.Done
				if totals.InRun != nil {
					*totals.InRun += *a.InRun
				}
			}
			if test.before != nil {
				known.note(1, now.Add(-time.Second), test.before)
			}
			known.note(1, now, test.after)
			if diff := cmp.Diff(&test.want, known.progress(totals, test.after, now)); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDueText is what due receipts read like, on a page without colors.
func TestDueText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	oldest, slot := now.Add(-50*time.Hour), now.Add(-34*time.Hour)
	tests := []struct {
		name string
		due  dueReport
		want []string
	}{
		{"none", dueReport{}, nil},
		{"since the last run", dueReport{Receipts: 7, Oldest: &oldest}, []string{"7", "the oldest since 2026-02-27 10:00 UTC (2 days ago)"}},
		{"many and overdue", dueReport{Receipts: 100_000, More: true, Oldest: &oldest, OverdueSince: &slot}, []string{
			"more than 100,000", "the oldest since 2026-02-27 10:00 UTC (2 days ago)", "overdue since the run of 2026-02-28 02:00 UTC",
		}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, dueText(test.due, now, new(terminal.Page))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestPaceForgets holds the pace of now to the last half minute.
func TestPaceForgets(t *testing.T) {
	t.Parallel()
	known, start := newPaces(), time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	var done int64
	for second := range 200 {
		if second < 100 {
			done += 100
		} else {
			done++
		}
		known.note(1, start.Add(time.Duration(second)*time.Second), []repository.RunApp{{BundleID: "a", Done: done}})
	}
	if pace, _ := known.perSecond(1, "a"); pace != 1 {
		t.Errorf("pace: got %v, want that of the last half minute, 1", pace)
	}
	if n := len(known.runs[1]); n > 32 {
		t.Errorf("%d looks are kept", n)
	}
}

func TestLastSlot(t *testing.T) {
	t.Parallel()
	tests := []struct{ schedule, at, want string }{
		{"0 2 * * *", "2026-03-01 01:59", "2026-02-28 02:00"},
		{"0 2 * * *", "2026-03-01 02:00", "2026-03-01 02:00"},
		{"*/15 * * * *", "2026-03-01 02:14", "2026-03-01 02:00"},
		{"0 2 * * 1", "2026-03-01 12:00", "2026-02-23 02:00"},
		{"0 2 1 1 *", "2026-03-01 12:00", "2026-01-01 02:00"},
		{"0 2 29 2 *", "2027-03-01 12:00", "2024-02-29 02:00"},
	}
	for _, test := range tests {
		schedule, err := cron.ParseStandard(test.schedule)
		if err != nil {
			t.Fatal(err)
		}
		const layout = "2006-01-02 15:04"
		at, err := time.Parse(layout, test.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := lastSlot(schedule, at).Format(layout); got != test.want {
			t.Errorf("last slot of %q at %s: got %s, want %s", test.schedule, test.at, got, test.want)
		}
	}
}
