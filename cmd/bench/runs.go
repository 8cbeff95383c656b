package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// oneInDueOfRun is how many receipts there are for each that a run is over.
const oneInDueOfRun = 10

// runs measures a run over a million receipts, one in ten of the largest table: how
// long it takes to open it, and the longest statement while it goes on. Counting what
// is due goes on next to it, and is measured by itself.
func (b *bench) runs(ctx context.Context) error {
	s, err := b.newStack(ctx, true)
	if err != nil {
		return err
	}
	defer s.close()
	say("  filling %d rows …", b.dueRows)
	if err := s.fillRows(ctx, b.dueRows, oneInDueOfRun); err != nil {
		return err
	}
	opened, counted, err := s.openRun(ctx)
	if err != nil {
		return err
	}
	longest, err := b.longRun(ctx, s)
	if err != nil {
		return err
	}
	rows, due := strconv.Itoa(b.dueRows), strconv.Itoa(b.dueRows/oneInDueOfRun)
	b.table.add(row{
		name: b.name("Run/rows=" + rows), what: fmt.Sprintf("run opened at %s rows, %s due; the longest statement until it ends; counting, next to it", rows, due),
		figure: figure{value: float64(opened), unit: unitTime, rank: float64(longest)},
		ours:   fmt.Sprintf("%s; %s; %s", opened.Round(time.Millisecond/10), longest.Round(time.Millisecond), counted.Round(time.Millisecond)),
		ratio:  longest.Round(time.Millisecond).String(), target: "≤ 1 s each, but for counting", met: opened <= time.Second && longest <= time.Second,
	})
	return nil
}

// openRun opens a run, counts it and cancels it.
func (s *stack) openRun(ctx context.Context) (opened, counted time.Duration, err error) {
	db, err := repository.Open(repository.Config{URL: secret.New(s.url), ApplicationName: "bench"})
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	began := time.Now()
	run, err := db.OpenRun(ctx, runs.Run{
		Kind: runs.Manual, ScheduledFor: began, Cutoff: began, Deadline: began.Add(time.Hour),
	}, runs.Lease{Owner: "bench", Until: began.Add(time.Hour)}, began)
	if err != nil {
		return 0, 0, err
	}
	opened = time.Since(began)
	err = db.CountRun(ctx, run, began)
	counted = time.Since(began) - opened
	if err == nil {
		_, err = db.CancelRun(ctx, run.ID, time.Now())
	}
	return opened, counted, err
}

// longRun does a run to its end, with somebody who ends claims in place of workers,
// and returns the longest statement of the program meanwhile.
func (b *bench) longRun(ctx context.Context, s *stack) (longest time.Duration, err error) {
	workers, err := s.db.Connx(ctx)
	if err != nil {
		return 0, err
	}
	defer workers.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- s.drain(ctx, workers) }()
	watched := make(chan time.Duration, 1)
	watching, end := context.WithCancel(ctx)
	defer end()
	go func() { watched <- s.longestStatement(watching) }()
	run, err := b.start(ctx, s.env, "revalidator", "run", "--quiet", "--json")
	if err != nil {
		return 0, err
	}
	defer run.stop()
	out, _, err := run.watch(failed)
	if err != nil {
		return 0, err
	}
	end()
	var totals struct {
		Due, Enqueued int
	}
	if err := json.Unmarshal(out, &totals); err != nil || totals.Enqueued != b.dueRows/oneInDueOfRun || totals.Due != totals.Enqueued {
		return 0, errors.Join(err, fmt.Errorf("the run enqueued %d of %d receipts", totals.Enqueued, totals.Due))
	}
	return <-watched, nil
}

// longestStatement looks for the longest statement of the program until ctx ends, as
// often as that it misses none that matters. Counting is left out.
func (s *stack) longestStatement(ctx context.Context) (longest time.Duration) {
	const query = `
		SELECT coalesce(extract(epoch FROM clock_timestamp() - query_start), 0) AS seconds, query FROM pg_stat_activity
		WHERE application_name = 'revalidator' AND state = 'active' ORDER BY query_start`
	var statement string
	for ctx.Err() == nil {
		var active []struct {
			Seconds float64 `db:"seconds"`
			Query   string  `db:"query"`
		}
		if err := s.db.SelectContext(ctx, &active, query); err != nil && ctx.Err() == nil {
			say("  look at statements: %v", err)
		}
		for _, a := range active {
			took := time.Duration(a.Seconds * float64(time.Second))
			if strings.Contains(a.Query, repository.CountMark) || took <= longest {
				continue
			}
			longest, statement = took, strings.Join(strings.Fields(a.Query), " ")
		}
		time.Sleep(20 * time.Millisecond)
	}
	say("  longest statement, %s: %s", longest.Round(time.Millisecond), statement)
	return longest
}
