package report

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"revalidator/internal/claim"
	"revalidator/internal/phrase"
	"revalidator/internal/ratelimit"
	"revalidator/jobs"
)

// QueueStatus is what Redis knows.
type QueueStatus struct {
	Queue   QueueOwner `json:"queue_owner"`
	Queues  []Lane     `json:"queues"`
	Workers []Worker   `json:"workers"`
	// WorkersUnlisted is how many workers are running of which asynq does not know, as
	// for some seconds after Redis lost its list.
	WorkersUnlisted int      `json:"workers_unlisted"`
	Schedulers      []string `json:"schedulers"`
	// Budgets are those that are not as configured, because Apple shows distress.
	Budgets []Budget `json:"budgets"`
	// SilentClaims is how many of the oldest claims have no task.
	SilentClaims int `json:"claims_without_task"`
}

// Lane is how many tasks of a lane are where.
type Lane struct {
	Queue    string `json:"queue"`
	Waiting  int    `json:"waiting"`
	Active   int    `json:"active"`
	Retry    int    `json:"retry"`
	Archived int    `json:"archived"`
}

// Worker is a worker process.
type Worker struct {
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Queues    []string  `json:"queues"`
	Active    int       `json:"active"`
	StartedAt time.Time `json:"started_at"`
}

// QueueOwner is whose queue Redis holds.
type QueueOwner struct {
	// Installation is this database's, and Owner that of the queue; nil where it is
	// nobody's yet.
	Installation jobs.Owner  `json:"this"`
	Owner        *jobs.Owner `json:"owner"`
	// Own says that both are the same.
	Own bool `json:"own"`
}

// String says it in a sentence.
func (o QueueOwner) String() string {
	switch {
	case o.Owner == nil:
		return "holds no queue yet: the first scheduler or worker of an installation takes it"
	case o.Own:
		return "queue of this installation, " + o.Installation.Installation
	}
	return "queue of another " + o.Owner.String() + ", so that schedulers and workers of this one do not start: see 'revalidator queue adopt --help'"
}

// The sources of what Redis knows.
type (
	// Queue is the queue of an installation.
	Queue interface {
		// Announce makes the queues known, which have no figures before.
		Announce(ctx context.Context) error
		Owner(ctx context.Context) (owner jobs.Owner, found bool, err error)
		Running(ctx context.Context, kind jobs.Kind) ([]string, error)
		Servers(ctx context.Context) ([]jobs.Server, error)
	}
	// Inspector is asynq's.
	Inspector interface {
		GetQueueInfo(queue string) (*asynq.QueueInfo, error)
		Servers() ([]*asynq.ServerInfo, error)
	}
	// Limiter is the rate limiter.
	Limiter interface {
		Impaired(ctx context.Context) ([]ratelimit.State, error)
	}
)

// QueueReader reads what Redis knows.
type QueueReader struct {
	Reach        func(ctx context.Context) error
	Installation func() jobs.Owner
	Queue        Queue
	Inspector    Inspector
	Limiter      Limiter
	// SilentClaims lists the oldest claims that have no task. Where the queue is
	// another installation's, none has.
	SilentClaims func(ctx context.Context) ([]claim.Claim, error)
}

// Read reads all of it, or nothing.
func (r QueueReader) Read(ctx context.Context) (QueueStatus, error) {
	var q QueueStatus
	for _, read := range []func() error{
		func() error { return r.Reach(ctx) },
		func() (err error) { q.Queue, err = r.Owner(ctx); return },
		func() (err error) { q.Queues, err = r.lanes(ctx); return },
		func() (err error) { q.Workers, err = r.workers(); return },
		func() (err error) { q.WorkersUnlisted, err = r.unlisted(ctx, q.Workers); return },
		func() (err error) { q.Schedulers, err = r.Queue.Running(ctx, jobs.KindScheduler); return },
		func() (err error) { q.Budgets, err = ReadBudgets(ctx, r.Limiter); return },
		func() (err error) { q.SilentClaims, err = r.silentClaims(ctx); return },
	} {
		if err := read(); err != nil {
			return QueueStatus{}, err
		}
	}
	return q, nil
}

// Owner reads whose queue Redis holds.
func (r QueueReader) Owner(ctx context.Context) (QueueOwner, error) {
	o := QueueOwner{Installation: r.Installation()}
	owner, found, err := r.Queue.Owner(ctx)
	if found {
		o.Owner, o.Own = &owner, owner.Installation == o.Installation.Installation
	}
	return o, err
}

func (r QueueReader) silentClaims(ctx context.Context) (int, error) {
	claims, err := r.SilentClaims(ctx)
	return len(claims), err
}

// SilentText says that claims have no task, and what follows for their receipts.
func SilentText(n int) string {
	return fmt.Sprintf("%s of the oldest have no task: their receipts wait until the claims run out", phrase.Count(int64(n)))
}

func (r QueueReader) lanes(ctx context.Context) ([]Lane, error) {
	if err := r.Queue.Announce(ctx); err != nil {
		return nil, err
	}
	var lanes []Lane
	for _, name := range jobs.Queues() {
		q, err := r.Inspector.GetQueueInfo(name)
		if err != nil {
			return nil, fmt.Errorf("read queue %s: %w", name, err)
		}
		lanes = append(lanes, Lane{name, q.Pending, q.Active, q.Retry, q.Archived})
	}
	return lanes, nil
}

func (r QueueReader) unlisted(ctx context.Context, listed []Worker) (int, error) {
	running, err := r.Queue.Running(ctx, jobs.KindWorker)
	return max(len(running)-len(listed), 0), err
}

// workers lists the worker processes that have shown a sign of life. Each has a
// server of asynq's for each queue.
func (r QueueReader) workers() ([]Worker, error) {
	servers, err := r.Inspector.Servers()
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	workers := []Worker{}
	for _, server := range servers {
		i := slices.IndexFunc(workers, func(w Worker) bool { return w.Host == server.Host && w.PID == server.PID })
		if i < 0 {
			i = len(workers)
			workers = append(workers, Worker{Host: server.Host, PID: server.PID, StartedAt: server.Started.UTC()})
		}
		for name := range server.Queues {
			workers[i].Queues = append(workers[i].Queues, name)
		}
		slices.Sort(workers[i].Queues)
		workers[i].Active += len(server.ActiveWorkers)
	}
	return workers, nil
}
