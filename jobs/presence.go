package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// PresenceEvery is how often a process says that it is running, presenceLife after
// which silence it counts as gone, and contestedFor how long two servers may use
// one queue until it is contested: longer than a failover takes.
const (
	PresenceEvery = 5 * time.Second
	presenceLife  = 4 * PresenceEvery
	contestedFor  = time.Minute
)

// presenceKey names the processes that are running: a hash of their names. The
// field without a name holds since when two servers use the queue.
const presenceKey = "revalidator:presence"

// Kind is what a process does.
type Kind string

// The kinds of processes that say that they are running.
const (
	KindScheduler Kind = "scheduler"
	KindWorker    Kind = "worker"
	KindRun       Kind = "run" // a command that feeds a run of its own
)

// Server is the server of Postgres that a process is connected to. A physical copy
// of a database shares its installation, and differs by this.
type Server struct {
	// Address is where the server was reached, as it sees itself; it is for people.
	// Two processes may reach one server at different addresses.
	Address string `json:"address"`
	// StartedAt is when the server started, to the microsecond: it tells two
	// servers apart.
	StartedAt time.Time `json:"started_at,omitzero"`
}

func (s Server) String() string {
	return fmt.Sprintf("%s, started %s", s.Address, s.StartedAt.UTC().Format(time.RFC3339))
}

// Process is one that is running.
type Process struct {
	Kind         Kind   `json:"kind"`
	Name         string `json:"name"`
	Installation string `json:"installation"`
	// Server is the zero value while the database cannot be reached.
	Server Server `json:"server"`
}

// The scripts take the time from Redis, so that processes and who looks at them
// need not agree on it. Each value is the time of the last sign of life, the
// installation, the start of the server or "-", and the process as JSON.
//
// beatScript gets presenceLife in milliseconds, the name, the installation, the
// start of its server and the JSON, and returns for how many milliseconds two
// servers have used the queue, or -1. A process that has lost its database says
// nothing of a server: others may have found it again elsewhere.
var (
	beatScript = redis.NewScript(`
		local time = redis.call('TIME')
		local now = time[1] * 1000 + math.floor(time[2] / 1000)
		local at = string.format('%.0f', now)
		local installation = ARGV[3] == '' and '-' or ARGV[3]
		redis.call('HSET', KEYS[1], ARGV[2], table.concat({at, installation, ARGV[4], ARGV[5]}, ' '))
		redis.call('PEXPIRE', KEYS[1], ARGV[1])
		local all, server, differ = redis.call('HGETALL', KEYS[1]), nil, false
		for i = 1, #all, 2 do
			local last, of, started = string.match(all[i + 1], '^(%d+) (%S+) (%S+) ')
			if all[i] ~= '' and (not last or tonumber(last) <= now - ARGV[1]) then
				redis.call('HDEL', KEYS[1], all[i])
			elseif all[i] ~= '' and of == installation and started ~= '-' then
				differ = differ or (server and server ~= started)
				server = started
			end
		end
		if not differ then
			redis.call('HDEL', KEYS[1], '')
			return -1
		end
		redis.call('HSETNX', KEYS[1], '', at)
		return now - redis.call('HGET', KEYS[1], '')`)
	processesScript = redis.NewScript(`
		local time = redis.call('TIME')
		local now = time[1] * 1000 + math.floor(time[2] / 1000)
		local all, running = redis.call('HGETALL', KEYS[1]), {}
		for i = 1, #all, 2 do
			local last, process = string.match(all[i + 1], '^(%d+) %S+ %S+ (.*)$')
			if all[i] ~= '' and last and tonumber(last) > now - ARGV[1] then
				running[#running + 1] = process
			end
		end
		return running`)
)

// Beat notes that a process of the queue's installation is running, and forgets
// those that have not said so for a while. It reports whether the queue is
// contested: for over a minute processes of this installation have been connected
// to two servers, which therefore are copies of each other.
func (q *Queue) Beat(ctx context.Context, p Process) (contested bool, err error) {
	p.Installation = q.owner().Installation
	process, err := json.Marshal(p)
	if err != nil {
		return false, fmt.Errorf("note process: %w", err)
	}
	started := "-"
	if !p.Server.StartedAt.IsZero() {
		started = fmt.Sprint(p.Server.StartedAt.UnixMicro())
	}
	since, err := beatScript.Run(ctx, q.redis, []string{presenceKey},
		presenceLife.Milliseconds(), p.Name, p.Installation, started, process).Int64()
	if err != nil {
		return false, fmt.Errorf("note process: %w", err)
	}
	return since >= contestedFor.Milliseconds(), nil
}

// Leave notes that the process of a name has ended.
func (q *Queue) Leave(ctx context.Context, name string) error {
	if err := q.redis.HDel(ctx, presenceKey, name).Err(); err != nil {
		return fmt.Errorf("forget process: %w", err)
	}
	return nil
}

// Processes are those that are running, of every installation, by their names. One
// that was killed is among them for another 20 seconds.
func (q *Queue) Processes(ctx context.Context) ([]Process, error) {
	running, err := processesScript.Run(ctx, q.redis, []string{presenceKey}, presenceLife.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	processes := make([]Process, len(running))
	for i, text := range running {
		if err := json.Unmarshal([]byte(text), &processes[i]); err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
	}
	slices.SortFunc(processes, func(a, b Process) int { return strings.Compare(a.Name, b.Name) })
	return processes, nil
}

// Running names the processes of a kind and of the queue's installation that are running.
func (q *Queue) Running(ctx context.Context, kind Kind) ([]string, error) {
	processes, err := q.Processes(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, p := range processes {
		if p.Kind == kind && p.Installation == q.owner().Installation {
			names = append(names, p.Name)
		}
	}
	return names, nil
}

// Servers are the servers of Postgres that the processes of the queue's
// installation are connected to, each once.
func (q *Queue) Servers(ctx context.Context) ([]Server, error) {
	processes, err := q.Processes(ctx)
	if err != nil {
		return nil, err
	}
	var servers []Server
	for _, p := range processes {
		known := slices.ContainsFunc(servers, func(s Server) bool { return s.StartedAt.Equal(p.Server.StartedAt) })
		if p.Installation == q.owner().Installation && !p.Server.StartedAt.IsZero() && !known {
			servers = append(servers, p.Server)
		}
	}
	return servers, nil
}

// Presence says that a process is running, and watches whose the queue is.
type Presence struct {
	queue     *Queue
	process   Process
	server    func(context.Context) (Server, error)
	log       *slog.Logger
	contested atomic.Bool
}

// NewPresence is the presence of a process, whose name must differ from that of
// every other. server reads which server of Postgres it is connected to.
func NewPresence(q *Queue, kind Kind, name string, server func(context.Context) (Server, error), log *slog.Logger) *Presence {
	return &Presence{queue: q, process: Process{Kind: kind, Name: name}, server: server, log: log}
}

// Contested reports whether the queue was contested when Run looked last: nothing
// may be enqueued then, because nobody can tell which of two copies of the
// database is the right one.
func (p *Presence) Contested() bool { return p.contested.Load() }

// Limits of the calls of a Presence.
const (
	beatTimeout   = 6 * time.Second
	serverTimeout = 2 * time.Second
	leaveTimeout  = 2 * time.Second
)

// Run says that the process is running until ctx ends. Its error is ErrNotOwner,
// once Redis belongs to another installation. Another fault is logged once and
// then waited out.
func (p *Presence) Run(ctx context.Context) error {
	defer p.leave(ctx)
	failed := false
	for ctx.Err() == nil {
		err := p.beat(ctx)
		if errors.Is(err, ErrNotOwner) {
			return err
		}
		if err != nil && !failed && ctx.Err() == nil {
			p.log.Warn("note that the process is running", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
		case <-time.After(PresenceEvery):
		}
	}
	return nil
}

// beat says nothing where Redis belongs to another installation: who is refused
// is no part of it.
func (p *Presence) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	if err := p.queue.Check(ctx); err != nil {
		return err
	}
	process := p.process
	process.Server = p.readServer(ctx)
	contested, err := p.queue.Beat(ctx, process)
	if err != nil {
		return err
	}
	if before := p.contested.Swap(contested); before != contested {
		p.logContest(ctx, contested)
	}
	return nil
}

// readServer is the zero value where the database does not answer.
func (p *Presence) readServer(ctx context.Context) Server {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	server, err := p.server(ctx)
	if err != nil {
		return Server{}
	}
	return server
}

// logContest logs once that the queue is contested, or no longer is.
func (p *Presence) logContest(ctx context.Context, contested bool) {
	if !contested {
		p.log.Info("one server of Postgres uses this queue again: it is filled again")
		return
	}
	servers, err := p.queue.Servers(ctx)
	p.log.Error("two copies of this database use this queue, so that it is not filled: stop the programs of one of them, or give them a Redis of their own",
		"servers", fmt.Sprint(servers), "error", err)
}

func (p *Presence) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	// Where this fails, the name is forgotten all the same, seconds later.
	_ = p.queue.Leave(ctx, p.process.Name)
}
