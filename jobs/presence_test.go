package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/jobs"
)

const presenceKey = "revalidator:presence"

var (
	primary = jobs.Server{Address: "10.0.0.5:5432", StartedAt: time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)}
	// sameServer is reached by another way.
	sameServer = jobs.Server{Address: "a socket", StartedAt: primary.StartedAt}
	copied     = jobs.Server{Address: "10.0.0.9:5432", StartedAt: time.Date(2026, 3, 1, 13, 0, 0, 2000, time.UTC)}
)

func (f fixture) beat(kind jobs.Kind, name string, s jobs.Server) (contested bool) {
	f.t.Helper()
	contested, err := f.of(shop).Beat(f.t.Context(), jobs.Process{Kind: kind, Name: name, Server: s})
	f.must(err)
	return contested
}

// age makes the last sign of life of a process, or with an empty name the time
// since when two servers use the queue, so old.
func (f fixture) age(name string, by time.Duration) {
	f.t.Helper()
	value, err := f.redis.HGet(f.t.Context(), presenceKey, name).Result()
	f.must(err)
	_, rest, found := strings.Cut(value, " ")
	aged := fmt.Sprint(time.Now().Add(-by).UnixMilli())
	if found {
		aged += " " + rest
	}
	f.must(f.redis.HSet(f.t.Context(), presenceKey, name, aged).Err())
}

func TestPresence(t *testing.T) {
	f := open(t)
	q := f.of(shop)
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"nobody", func() {}, []string{}},
		{"first", func() { f.beat(jobs.KindScheduler, "host/1", primary) }, []string{"host/1"}},
		{"again", func() { f.beat(jobs.KindScheduler, "host/1", primary) }, []string{"host/1"}},
		{"second", func() { f.beat(jobs.KindScheduler, "host/2", primary) }, []string{"host/1", "host/2"}},
		{"a worker", func() { f.beat(jobs.KindWorker, "host/3", primary) }, []string{"host/1", "host/2"}},
		{"of another installation", func() {
			_, err := f.of(staging).Beat(t.Context(), jobs.Process{Kind: jobs.KindScheduler, Name: "host/4"})
			f.must(err)
		}, []string{"host/1", "host/2"}},
		{"silent for a minute", func() { f.age("host/1", time.Minute) }, []string{"host/2"}},
		{"left", func() { f.must(q.Leave(t.Context(), "host/2")) }, []string{}},
		{"left twice", func() { f.must(q.Leave(t.Context(), "host/2")) }, []string{}},
	}
	for _, step := range steps {
		step.do()
		got, err := q.Running(t.Context(), jobs.KindScheduler)
		f.must(err)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: schedulers (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestPresenceIsForgotten holds the names of processes that were killed to not
// piling up.
func TestPresenceIsForgotten(t *testing.T) {
	f := open(t)
	f.beat(jobs.KindScheduler, "host/1", primary)
	f.age("host/1", time.Minute)
	f.beat(jobs.KindScheduler, "host/2", primary)
	names, err := f.redis.HKeys(t.Context(), presenceKey).Result()
	f.must(err)
	if diff := cmp.Diff([]string{"host/2"}, names); diff != "" {
		t.Errorf("names that are kept (-want +got):\n%s", diff)
	}
	life, err := f.redis.PTTL(t.Context(), presenceKey).Result()
	f.must(err)
	if life <= 0 {
		t.Error("the names stay for ever once nobody is running")
	}
}

// TestCopyOfTheServer has the programs of a physical copy come, stay and go.
func TestCopyOfTheServer(t *testing.T) {
	f := open(t)
	expect := func(when string, want bool, contested ...bool) {
		t.Helper()
		for i, got := range contested {
			if got != want {
				t.Errorf("%s: contested is %t for process %d, want %t", when, got, i+1, want)
			}
		}
	}
	own := func() bool { return f.beat(jobs.KindScheduler, "host/1", primary) }
	theirs := func() bool { return f.beat(jobs.KindScheduler, "copy/1", copied) }

	expect("alone", false, own())
	expect("one server at two addresses", false, f.beat(jobs.KindWorker, "host/2", sameServer), own())
	expect("a moment of two servers", false, theirs(), own())
	f.age("", 50*time.Second)
	expect("after 50 s", false, theirs(), own())
	f.age("", 61*time.Second)
	expect("after 61 s, on both sides", true, theirs(), own())
	servers, err := f.of(shop).Servers(t.Context())
	f.must(err)
	if len(servers) != 2 {
		t.Errorf("servers: %v, want both", servers)
	}
	f.must(f.of(shop).Leave(t.Context(), "copy/1"))
	expect("the copy has left", false, own())
	expect("the copy is back: it counts anew", false, theirs(), own())
}

// TestFailover has processes find the new server one by one, while others know of
// none.
func TestFailover(t *testing.T) {
	f := open(t)
	steps := []struct {
		name   string
		server jobs.Server
	}{
		{"host/1", primary}, {"host/2", primary}, {"host/1", jobs.Server{}}, {"host/2", jobs.Server{}},
		{"host/1", copied}, {"host/2", jobs.Server{}}, {"host/2", copied},
	}
	for _, step := range steps {
		if f.beat(jobs.KindScheduler, step.name, step.server) {
			t.Errorf("%s on %v: contested", step.name, step.server)
		}
	}
	if f.redis.HExists(t.Context(), presenceKey, "").Val() {
		t.Error("two servers are counted, want one")
	}
	// One that lost its database for good does not stand against the others.
	f.beat(jobs.KindScheduler, "host/3", jobs.Server{})
	if f.redis.HExists(t.Context(), presenceKey, "").Val() {
		t.Error("a process without a database counts as a server")
	}
}

// TestPresenceRuns says that a process is running until it is stopped, and ends
// when another installation takes the queue.
func TestPresenceRuns(t *testing.T) {
	f := open(t)
	server := func(context.Context) (jobs.Server, error) { return primary, nil }
	start := func() (stop context.CancelFunc, ended chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		ended = make(chan error, 1)
		p := jobs.NewPresence(f.of(shop), jobs.KindScheduler, "host/1", server, slogDiscard)
		go func() { ended <- p.Run(ctx) }()
		return cancel, ended
	}
	running := func() int {
		names, err := f.of(shop).Running(t.Context(), jobs.KindScheduler)
		f.must(err)
		return len(names)
	}
	_, err := f.of(shop).Epoch(t.Context())
	f.must(err)
	stop, ended := start()
	f.until(func() bool { return running() == 1 })
	stop()
	if err := <-ended; err != nil {
		t.Errorf("a process that is stopped: got %v, want no error", err)
	}
	if running() != 0 {
		t.Error("a process that has ended counts as running")
	}
	_, err = f.of(staging).Adopt(t.Context())
	f.must(err)
	_, ended = start()
	if err := <-ended; !errors.Is(err, jobs.ErrNotOwner) {
		t.Errorf("another installation has the queue: got %v, want %v", err, jobs.ErrNotOwner)
	}
	if running() != 0 {
		t.Error("a process that was refused counts as running")
	}
}

// TestContestIsLoggedOnce has a copy of the server use the queue for over a minute.
func TestContestIsLoggedOnce(t *testing.T) {
	f := open(t)
	f.beat(jobs.KindScheduler, "host/1", primary)
	f.beat(jobs.KindWorker, "copy/1", copied)
	f.age("", 2*time.Minute)
	var log lockedText
	server := func(context.Context) (jobs.Server, error) { return primary, nil }
	p := jobs.NewPresence(f.of(shop), jobs.KindScheduler, "host/1", server, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	f.until(func() bool { return p.Contested() && log.String() != "" })
	stop()
	f.must(<-ended)
	text := log.String()
	if strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, primary.Address) || !strings.Contains(text, copied.Address) {
		t.Errorf("logged:\n%s\nwant one error with both servers", text)
	}
}

// lockedText is what was logged.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
