package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// The rate that is allowed, and how long Apple takes.
const (
	allowedRate  = 40
	allowedBurst = 1
	appleLatency = 300 * time.Millisecond
)

// rate measures how much of an allowed rate is used, with one worker and with
// four.
func (b *bench) rate(ctx context.Context) error {
	s, err := b.newStack(ctx, true)
	if err != nil {
		return err
	}
	defer s.close()
	store, url, err := s.appStore(ctx, "-latency", appleLatency.String(), "-journal")
	if err != nil {
		return err
	}
	defer store.stop()
	args := []string{"apps", "set", appID, "--rate", strconv.Itoa(allowedRate), "--burst", strconv.Itoa(allowedBurst), "--quiet"}
	if _, err := s.b.output(ctx, s.env, "revalidator", args...); err != nil {
		return err
	}
	n := b.size(allowedRate * 30)
	if err := s.fill(ctx, 2*n, smallReceipt); err != nil {
		return err
	}
	for _, workers := range []int{1, 4} {
		if err := s.due(ctx, n*min(workers-1, 1), n); err != nil {
			return err
		}
		times, err := s.pacedRun(ctx, url, workers)
		if err != nil {
			return err
		}
		used, most := float64(len(times)-1)/times[len(times)-1].Sub(times[0]).Seconds()/allowedRate, busiest(times)
		b.table.add(row{
			name: b.name(fmt.Sprintf("Rate%d", workers)), what: fmt.Sprintf("%d/s allowed, Apple takes %s, workers: %d", allowedRate, appleLatency, workers),
			figure: figure{value: 100 * used, unit: unitShare},
			ours:   fmt.Sprintf("%.1f %% of the rate, at most %d in a second", 100*used, most), ratio: fmt.Sprintf("%.1f %%", 100*used),
			target: fmt.Sprintf("≥ 98 %%, ≤ %d in any second", allowedRate+allowedBurst), met: used >= 0.98 && most <= allowedRate+allowedBurst,
		})
	}
	return nil
}

// due makes n receipts due from the one on that comes after the first, and no
// other.
func (s *stack) due(ctx context.Context, after, n int) error {
	const query = `UPDATE receipts SET next_check_at = now() + CASE WHEN id > $1::bigint AND id <= $1::bigint + $2::bigint THEN interval '-1 hour' ELSE interval '30 days' END`
	_, err := s.db.ExecContext(ctx, query, after, n)
	return err
}

// pacedRun does what is due with so many workers, and returns when the App Store
// was asked.
func (s *stack) pacedRun(ctx context.Context, url string, workers int) ([]time.Time, error) {
	for range workers {
		worker, err := s.b.start(ctx, s.env, "revalidator", "worker")
		if err != nil {
			return nil, err
		}
		defer worker.stop()
	}
	if err := s.awaitWorkers(ctx, workers); err != nil {
		return nil, err
	}
	if _, err := s.b.output(ctx, s.env, "revalidator", "run", "--quiet", "--json"); err != nil {
		return nil, err
	}
	reply, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	var times []time.Time
	if err := json.NewDecoder(reply.Body).Decode(&times); err != nil {
		return nil, err
	}
	if len(times) < 2 {
		return nil, fmt.Errorf("the App Store was asked %d times", len(times))
	}
	slices.SortFunc(times, time.Time.Compare)
	return times, nil
}

// busiest is the most requests within any second.
func busiest(times []time.Time) (most int) {
	first := 0
	for i, t := range times {
		for t.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
