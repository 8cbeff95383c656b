package faults

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Use is what an installation holds when it is at rest: connections that a killed
// program left go within moments.
type Use struct {
	// Heap and Resident are bytes of the worker that ran all the time, and
	// Goroutines and Files its.
	Heap, Resident, Goroutines, Files int64
	// Postgres and Redis are connections of all programs.
	Postgres, Redis int64
	// Receipts and Subscriptions are bytes on disk of the tables that each night
	// updates, with their indexes.
	Receipts, Subscriptions int64
}

// rest is what the connections to Apple may take to be given up that a burst of
// calls left idle: net/http closes them after 90 s.
const rest = 100 * time.Second

// atRest measures again and again while more is used than after the first night,
// until there is nothing that could still be given up.
func (s *soak) atRest(ctx context.Context) (Use, error) {
	for until := time.Now().Add(rest); ; {
		u, err := s.use(ctx)
		if err != nil {
			return u, err
		}
		if s.first == nil {
			s.first = &u
		}
		if growth(*s.first, u) == nil || time.Now().After(until) {
			return u, nil
		}
		if err := hold(ctx, time.Second); err != nil {
			return u, err
		}
	}
}

// use measures what is used now.
func (s *soak) use(ctx context.Context) (u Use, err error) {
	figures, err := s.scrape(ctx)
	if err != nil {
		return u, err
	}
	u.Heap, u.Resident = figures["go_memstats_heap_inuse_bytes"], figures["process_resident_memory_bytes"]
	u.Goroutines, u.Files = figures["go_goroutines"], figures["process_open_fds"]
	for _, query := range []struct {
		into *int64
		text string
	}{
		{&u.Postgres, `SELECT count(*) FROM pg_stat_activity WHERE usename = '` + role + `'`},
		{&u.Receipts, `SELECT pg_total_relation_size('receipts')`},
		{&u.Subscriptions, `SELECT pg_total_relation_size('subscriptions')`},
	} {
		n, err := s.number(ctx, query.text)
		if err != nil {
			return u, err
		}
		*query.into = int64(n)
	}
	clients, err := s.Redis.ClientList(ctx).Result()
	u.Redis = int64(strings.Count(clients, "\n"))
	return u, err
}

// scrape reads the metrics of the steady worker.
func (s *soak) scrape(ctx context.Context) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("metrics of the worker: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	figures := make(map[string]int64)
	for lines := bufio.NewScanner(reply.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			if number, err := strconv.ParseFloat(value, 64); err == nil {
				figures[name] = int64(number)
			}
		}
	}
	return figures, nil
}

// growth tells what a later night uses more of than an earlier one, beyond what
// differs from night to night anyhow: half as much again, and a few. A pool of the
// client of Redis keeps all connections that it ever needed at once, ten for each
// processor at most, and a program that was started a moment ago hardly any.
func growth(first, last Use) (complaints []string) {
	for _, figure := range []struct {
		name        string
		first, last int64
		spare       int64
	}{
		{"heap in bytes", first.Heap, last.Heap, 16 << 20},
		{"resident memory in bytes", first.Resident, last.Resident, 32 << 20},
		{"goroutines", first.Goroutines, last.Goroutines, 20},
		{"open files", first.Files, last.Files, 20},
		{"connections to Postgres", first.Postgres, last.Postgres, 10},
		{"connections to Redis", first.Redis, last.Redis, int64(soakPrograms * 10 * runtime.NumCPU())},
		{"bytes of receipts", first.Receipts, last.Receipts, 8 << 20},
		{"bytes of subscriptions", first.Subscriptions, last.Subscriptions, 8 << 20},
	} {
		if figure.last > figure.first*3/2+figure.spare {
			complaints = append(complaints, fmt.Sprintf("%s grew from %d to %d", figure.name, figure.first, figure.last))
		}
	}
	return complaints
}

// Growth tells what the last of some nights uses more of than the first.
func Growth(nights []Night) []string {
	if len(nights) < 2 {
		return nil
	}
	return growth(nights[0].Use, nights[len(nights)-1].Use)
}
