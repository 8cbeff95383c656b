package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"revalidator/internal/runs"
	"revalidator/repository"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	held := "a person said so"
	app := func(name string, due, done int64, paused *string) repository.RunApp {
		left := due - done
		return repository.RunApp{BundleID: name, Figures: runs.Figures{Due: &due, InRun: &left, Done: done}, PausedCode: paused}
	}
	left := func(n int64) *int64 { return &n }
	number := func(f float64) *float64 { return &f }
	tests := []struct {
		name          string
		before, after []repository.RunApp // a second before, and 100 seconds after the start
		want          Progress
	}{
		{"one look", nil, []repository.RunApp{app("a", 1100, 100, nil)},
			Progress{Left: left(1000), AveragePerSecond: 1, SecondsLeft: number(1000)}},
		{"two looks", []repository.RunApp{app("a", 1100, 90, nil)}, []repository.RunApp{app("a", 1100, 100, nil)},
			Progress{Left: left(1000), PerSecond: number(10), AveragePerSecond: 1, SecondsLeft: number(100)}},
		{"the slowest app counts", []repository.RunApp{app("a", 1000, 400, nil), app("b", 1000, 99, nil)},
			[]repository.RunApp{app("a", 1000, 500, nil), app("b", 1000, 100, nil)},
			Progress{Left: left(1400), PerSecond: number(101), AveragePerSecond: 6, SecondsLeft: number(900)}},
		{"a paused app does not", nil, []repository.RunApp{app("a", 200, 100, nil), app("b", 1000, 0, &held)},
			Progress{Left: left(1100), AveragePerSecond: 1, SecondsLeft: number(100)}},
		{"nothing has moved", nil, []repository.RunApp{app("a", 100, 0, nil)}, Progress{Left: left(100)}},
		{"stands still now", []repository.RunApp{app("a", 200, 100, nil)}, []repository.RunApp{app("a", 200, 100, nil)},
			Progress{Left: left(100), PerSecond: number(0), AveragePerSecond: 1, SecondsLeft: number(100)}},
		{"stands still for a while", nil, []repository.RunApp{app("a", 200, 100, nil)},
			Progress{Left: left(100), PerSecond: number(0), AveragePerSecond: 1}},
		{"all of it waits", nil, []repository.RunApp{app("a", 200, 100, nil)},
			Progress{Left: left(100), AveragePerSecond: 1, Waiting: repository.Waiting{Receipts: 100}}},
		{"all done", nil, []repository.RunApp{app("a", 100, 100, nil)}, Progress{Left: left(0), AveragePerSecond: 1}},
		{"not counted yet", nil, []repository.RunApp{{BundleID: "a", Figures: runs.Figures{Done: 100}}}, Progress{AveragePerSecond: 1}},
		{"no apps", nil, []repository.RunApp{}, Progress{Left: left(0)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			known, now := NewPaces(), start.Add(100*time.Second)
			totals := runs.Totals{Run: runs.Run{ID: 1}, StartedAt: start}
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
			if test.name == "stands still for a while" {
				known.note(1, now.Add(-standsAfter), test.after)
			}
			known.note(1, now, test.after)
			if diff := cmp.Diff(&test.want, known.progress(totals, test.want.Waiting, test.after, now)); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWaitingText(t *testing.T) {
	t.Parallel()
	later := time.Date(2026, 3, 1, 10, 49, 0, 0, time.UTC)
	for want, waiting := range map[string]repository.Waiting{
		"": {},
		"2 wait for a retry, the next at 10:49 UTC":               {Receipts: 2, NextAt: &later},
		"1 waits for a retry, the next at 10:49 UTC":              {Receipts: 1, NextAt: &later},
		"more than 1,000 wait for a retry, the next at 10:49 UTC": {Receipts: 1000, More: true, NextAt: &later},
	} {
		if got := WaitingText(waiting); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestPaceForgets holds the pace of now to the last half minute.
func TestPaceForgets(t *testing.T) {
	t.Parallel()
	known, start := NewPaces(), time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	var done int64
	for second := range 200 {
		if second < 100 {
			done += 100
		} else {
			done++
		}
		known.note(1, start.Add(time.Duration(second)*time.Second), []repository.RunApp{{BundleID: "a", Figures: runs.Figures{Done: done}}})
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
