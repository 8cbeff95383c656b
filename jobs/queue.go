package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"revalidator/internal/claim"
)

// enqueuers is how many tasks are on their way to Redis at once. asynq has no
// bulk enqueue; 16 connections reach nearly 40,000 tasks per second, and more
// of them are slower.
const enqueuers = 16

// Queue puts tasks on the queue. It is safe for concurrent use.
type Queue struct {
	redis     redis.UniversalClient
	client    *asynq.Client
	timeout   time.Duration
	retention time.Duration
	owner     func() Owner
}

// NewQueue makes a Queue over a Redis client that the caller keeps and closes.
// A worker is given up on after timeout (whole seconds) per task, and the
// allowance of the task. It is the queue of an installation without a name; see
// Of.
func NewQueue(rdb redis.UniversalClient, timeout time.Duration) *Queue {
	return &Queue{
		redis: rdb, client: asynq.NewClientFromRedisClient(rdb), timeout: timeout,
		owner: func() Owner { return Owner{} },
	}
}

// Retaining is the same queue, whose tasks stay in Redis for so long (whole
// seconds) after they ended well: only then can their results be looked at.
func (q *Queue) Retaining(d time.Duration) *Queue {
	retaining := *q
	retaining.retention = d
	return &retaining
}

// Enqueue puts each task on its queue once, as a task of the queue's installation.
// A task that waits there already, or is active, is a success: an enqueue whose
// reply was lost is repeated by the Redis client and then finds itself. One that
// has ended is not, and is replaced: a database that was restored claims again
// under generations that Redis has seen. After an error some of the tasks may be
// on the queue; the claims of the others run out.
func (q *Queue) Enqueue(ctx context.Context, tasks []Verify) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(enqueuers)
	for _, v := range q.own(tasks) {
		group.Go(func() error { return q.enqueue(ctx, v) })
	}
	return group.Wait()
}

// own is tasks as those of the queue's installation.
func (q *Queue) own(tasks []Verify) []Verify {
	installation := q.owner().Installation
	owned := make([]Verify, len(tasks))
	for i, v := range tasks {
		v.Installation = installation
		owned[i] = v
	}
	return owned
}

func (q *Queue) enqueue(ctx context.Context, v Verify) error {
	task, err := v.task(q.timeout, q.retention)
	if err != nil {
		return err
	}
	_, err = q.client.EnqueueContext(ctx, task)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		var gone bool
		if gone, err = q.forgetEnded(ctx, v); err == nil && gone {
			_, err = q.client.EnqueueContext(ctx, task)
		}
	}
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", v.TaskID(), err)
	}
	return nil
}

// forgetEndedScript deletes a task unless it waits, is active, or is to be run
// again, and reports whether the id is free. It looks into the lists and not at
// the state alone: archiving tasks by asynq's pages leaves some of them in none,
// and their ids blocked for ever.
var forgetEndedScript = redis.NewScript(`
	if redis.call('LPOS', ARGV[1] .. 'pending', ARGV[2]) or redis.call('LPOS', ARGV[1] .. 'active', ARGV[2])
		or redis.call('ZSCORE', ARGV[1] .. 'scheduled', ARGV[2]) or redis.call('ZSCORE', ARGV[1] .. 'retry', ARGV[2]) then
		return 0
	end
	redis.call('ZREM', ARGV[1] .. 'completed', ARGV[2])
	redis.call('ZREM', ARGV[1] .. 'archived', ARGV[2])
	redis.call('DEL', KEYS[1])
	return 1`)

func (q *Queue) forgetEnded(ctx context.Context, v Verify) (gone bool, err error) {
	prefix := "asynq:{" + v.Queue() + "}:"
	return forgetEndedScript.Run(ctx, q.redis, []string{taskKey(v)}, prefix, v.TaskID()).Bool()
}

// taskKey is where asynq keeps a task.
func taskKey(v Verify) string { return "asynq:{" + v.Queue() + "}:t:" + v.TaskID() }

// Missing are those of some tasks of which Redis shows no sign: they neither wait,
// nor are active, nor are to be run again.
func (q *Queue) Missing(ctx context.Context, tasks []Verify) ([]Verify, error) {
	tasks = q.own(tasks)
	states := make([]*redis.StringCmd, len(tasks))
	_, err := q.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, v := range tasks {
			states[i] = p.HGet(ctx, taskKey(v), "state")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("find tasks: %w", err)
	}
	var missing []Verify
	for i, state := range states {
		if !claim.HasTask(state.Val()) {
			missing = append(missing, tasks[i])
		}
	}
	return missing, nil
}
