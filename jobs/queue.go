package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// enqueuers is how many tasks are on their way to Redis at once. asynq has no
// bulk enqueue; 16 connections reach nearly 40,000 tasks per second, and more
// of them are slower.
const enqueuers = 16

// epochKey names the value by which an emptied or replaced Redis is noticed.
const epochKey = "revalidator:epoch"

// Queue puts tasks on the queue. It is safe for concurrent use.
type Queue struct {
	redis     redis.UniversalClient
	client    *asynq.Client
	timeout   time.Duration
	retention time.Duration
}

// NewQueue makes a Queue over a Redis client that the caller keeps and closes.
// A worker is given up on after timeout (whole seconds) per task, and the
// allowance of the task.
func NewQueue(rdb redis.UniversalClient, timeout time.Duration) *Queue {
	return &Queue{redis: rdb, client: asynq.NewClientFromRedisClient(rdb), timeout: timeout}
}

// Retaining is the same queue, whose tasks stay in Redis for so long (whole
// seconds) after they ended well: only then can their results be looked at.
// Ids are never reused, so that a task that stays blocks no later claim.
func (q *Queue) Retaining(d time.Duration) *Queue {
	retaining := *q
	retaining.retention = d
	return &retaining
}

// Enqueue puts each task on its queue once. A task that is there already is a
// success: an enqueue whose reply was lost is repeated by the Redis client and
// then finds itself. After an error some of the tasks may be on the queue; the
// claims of the others run out.
func (q *Queue) Enqueue(ctx context.Context, tasks []Verify) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(enqueuers)
	for _, v := range tasks {
		group.Go(func() error { return q.enqueue(ctx, v) })
	}
	return group.Wait()
}

func (q *Queue) enqueue(ctx context.Context, v Verify) error {
	task, err := v.task(q.timeout, q.retention)
	if err != nil {
		return err
	}
	_, err = q.client.EnqueueContext(ctx, task)
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("enqueue %s: %w", v.TaskID(), err)
	}
	return nil
}

// Epoch is a value that stays the same for as long as Redis keeps its memory.
// A Redis that was emptied or replaced gets a new one here, and its queues are
// announced again, because asynq's client believes that they still are.
func (q *Queue) Epoch(ctx context.Context) (string, error) {
	fresh := uuid.NewString()
	set, err := q.redis.SetNX(ctx, epochKey, fresh, 0).Result()
	if err != nil {
		return "", fmt.Errorf("read queue epoch: %w", err)
	}
	if set {
		if err := q.announce(ctx); err != nil {
			return "", err
		}
		return fresh, nil
	}
	epoch, err := q.redis.Get(ctx, epochKey).Result()
	if err != nil {
		return "", fmt.Errorf("read queue epoch: %w", err)
	}
	return epoch, nil
}

// announce makes the queues known to asynq's inspector and web UI, also before
// the first task.
func (q *Queue) announce(ctx context.Context) error {
	for _, name := range Queues() {
		if err := q.redis.SAdd(ctx, "asynq:queues", name).Err(); err != nil {
			return fmt.Errorf("announce queue %s: %w", name, err)
		}
	}
	return nil
}
