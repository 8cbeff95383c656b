package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"revalidator/internal/dev/applesim"
)

// What a worker, and a backend of Postgres for it, may hold at most, whatever the
// other end sends.
const (
	workerMemory  = 256 << 20
	backendMemory = 128 << 20
)

func memoryScenarios() []Scenario {
	return []Scenario{
		hungry(Scenario{
			Name: "replies with huge headers", Faults: "9.6 MB of headers for everybody for 8 s, and each reply 10 s later",
			Settings: []string{"REVALIDATOR_APPLE_TIMEOUT=20s", "REVALIDATOR_SHUTDOWN_TIMEOUT=25s", "REVALIDATOR_CLAIM_LEASE=30s"},
			Prepare: func(_ context.Context, w *World) error {
				w.apple.server.Handler = hugeHeaders(w.Sim.Handler(), outage)
				return nil
			},
		}),
		hungry(Scenario{
			Name: "replies with a crowd", Faults: "2,000 subscriptions for one small receipt in 20", AsksAgain: true,
			Store:    func(c *applesim.Config) { c.Crowd, c.Mix.Crowded = 2000, 1.0/20 },
			Settings: []string{"REVALIDATOR_APPLE_TIMEOUT=4s", "REVALIDATOR_CLAIM_LEASE=60s", "REVALIDATOR_MAX_REPLY_BYTES=67108864"},
		}),
	}
}

// hugeHeaders sends many headers before each reply, from the first call on for a
// while, and has the replies wait together: what net/http holds of the headers by
// itself would be gigabytes.
func hugeHeaders(next http.Handler, lasts time.Duration) http.Handler {
	var began atomic.Int64
	filler := strings.Repeat("f", 9_600)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		began.CompareAndSwap(0, now.UnixNano())
		if now.Sub(time.Unix(0, began.Load())) < lasts {
			for i := range 1000 {
				w.Header().Set("X-Filler-"+strconv.Itoa(i), filler)
			}
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			_ = hold(r.Context(), 10*time.Second)
			w = begun{w}
		}
		next.ServeHTTP(w, r)
	})
}

// begun is a reply whose headers have left.
type begun struct{ http.ResponseWriter }

// WriteHeader does nothing.
func (begun) WriteHeader(int) {}

// hungry is a scenario in which all is asked about at once, by one worker, and its
// memory and that of its backends is watched until all is done.
func hungry(s Scenario) Scenario {
	s.Workers, s.Length = 1, time.Second
	s.Attack = func(ctx context.Context, w *World) error {
		watch := w.watchMemory(ctx)
		if err := errors.Join(w.Progress(ctx, 1), watch.stop()); err != nil {
			return err
		}
		// What found no room is asked again, and nothing else.
		n, err := w.number(ctx, `SELECT coalesce(sum(responses), 0) FROM run_failures WHERE class = 'memory_full' AND run_id > $1`, w.before)
		w.inFlight += n
		return err
	}
	return s
}

// memoryWatch looks at what processes hold.
type memoryWatch struct {
	w      *World
	cancel context.CancelFunc
	ended  sync.WaitGroup

	worker, backend int64
	err             error
}

// watchEvery is how often backends are looked at, whose peaks the kernel tells
// together with the memory that they share.
const watchEvery = 20 * time.Millisecond

func (w *World) watchMemory(ctx context.Context) *memoryWatch {
	ctx, cancel := context.WithCancel(ctx)
	m := &memoryWatch{w: w, cancel: cancel}
	m.ended.Go(func() {
		for ctx.Err() == nil {
			if m.err = m.look(ctx); m.err != nil {
				return
			}
		}
	})
	return m
}

// look watches for a while the backends that there are.
func (m *memoryWatch) look(ctx context.Context) error {
	backends, err := m.backends(ctx)
	if err != nil || ctx.Err() != nil {
		return nil // Postgres is asked again
	}
	for range 50 {
		for _, p := range m.w.workers {
			m.worker = max(m.worker, memoryOf(p.PID(), "VmHWM"))
		}
		for _, pid := range backends {
			m.backend = max(m.backend, memoryOf(pid, "RssAnon"))
		}
		if hold(ctx, watchEvery) != nil {
			return nil
		}
	}
	return nil
}

func (m *memoryWatch) backends(ctx context.Context) (pids []int, err error) {
	rows, err := m.w.DB.QueryContext(ctx, `SELECT pid FROM pg_stat_activity WHERE usename = '`+role+`' AND datname = current_database()`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, rows.Err()
}

// stop ends the watch; its error is a broken promise where one held too much.
func (m *memoryWatch) stop() error {
	m.cancel()
	m.ended.Wait()
	m.w.suite.cfg.Say("%s: the worker held %d MB at most, a backend %d MB", m.w.scenario.Name, m.worker>>20, m.backend>>20)
	switch {
	case m.worker == 0 || m.backend == 0:
		return fmt.Errorf("memory was not to be seen: worker %d, backend %d", m.worker, m.backend)
	case m.worker > workerMemory:
		return &brokenPromise{fmt.Sprintf("a worker held %d MB, may hold %d", m.worker>>20, workerMemory>>20)}
	case m.backend > backendMemory:
		return &brokenPromise{fmt.Sprintf("a backend of Postgres held %d MB, may hold %d", m.backend>>20, backendMemory>>20)}
	}
	return nil
}

// memoryOf is a figure of a process as Linux tells it, in bytes; 0 where it does not.
func memoryOf(pid int, name string) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, line, _ := bytes.Cut(text, []byte("\n"+name+":"))
	line, _, _ = bytes.Cut(line, []byte(" kB"))
	kilobytes, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kilobytes << 10
}
