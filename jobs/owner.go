package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// epochKey names the value that says whose queue a Redis holds, and by which an
// emptied or replaced Redis is noticed.
const epochKey = "revalidator:epoch"

// Owner is the installation that a queue belongs to: a database of this program.
// Two installations on one Redis would drop each other's tasks.
type Owner struct {
	// Installation is the same for all processes that use the same database, and
	// another for each copy of it.
	Installation string `json:"installation"`
	// Database says for people which database that is.
	Database string `json:"database"`
}

// String is the owner for people.
func (o Owner) String() string {
	switch {
	case o.Installation == "":
		return "an unknown installation"
	case o.Database == "":
		return "installation " + o.Installation
	}
	return fmt.Sprintf("installation %s (database %s)", o.Installation, o.Database)
}

// ErrNotOwner is a Redis whose queue belongs to another installation.
var ErrNotOwner = errors.New("this Redis holds the queue of another installation")

// OwnerError is ErrNotOwner, with whose the queue is.
type OwnerError struct{ Owner Owner }

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%v, %s: set REDIS_URL to a Redis of this one's own; "+
		"or, where this database takes the place of that one, stop all programs of that one and run 'revalidator queue adopt'", ErrNotOwner, e.Owner)
}

// Unwrap makes it ErrNotOwner.
func (e *OwnerError) Unwrap() error { return ErrNotOwner }

// ownership is what epochKey holds.
type ownership struct {
	Owner
	Epoch string `json:"epoch"`
}

// Of is the same queue for an installation. The owner is asked for at each use,
// because a service makes its queue before it has reached its database.
func (q *Queue) Of(owner func() Owner) *Queue {
	owned := *q
	owned.owner = owner
	return &owned
}

// Epoch is a value that stays the same for as long as Redis keeps its memory.
// A Redis that was emptied or replaced gets a new one here, belongs to the
// installation of q from then on, and its queues are announced again, because
// asynq's client believes that they still are. Its error is ErrNotOwner where
// Redis belongs to another installation.
func (q *Queue) Epoch(ctx context.Context) (string, error) {
	fresh, value := q.fresh()
	set, err := q.redis.SetNX(ctx, epochKey, value, 0).Result()
	if err != nil {
		return "", fmt.Errorf("read queue epoch: %w", err)
	}
	if set {
		return fresh.Epoch, q.Announce(ctx)
	}
	held, _, err := q.held(ctx)
	switch {
	case err != nil:
		return "", err
	case held.Installation != fresh.Installation:
		return "", &OwnerError{held.Owner}
	}
	return held.Epoch, nil
}

// Owner is whose the queue is; found is false for a Redis that belongs to nobody
// yet: the first scheduler or worker takes it.
func (q *Queue) Owner(ctx context.Context) (owner Owner, found bool, err error) {
	held, value, err := q.held(ctx)
	return held.Owner, value != "", err
}

// Check fails with ErrNotOwner where the queue belongs to another installation. It
// takes nothing: a Redis that belongs to nobody is as good as the own one.
func (q *Queue) Check(ctx context.Context) error {
	held, value, err := q.held(ctx)
	if err == nil && value != "" && held.Installation != q.owner().Installation {
		err = &OwnerError{held.Owner}
	}
	return err
}

// Mine reports whether a task belongs to the installation of q. Its error is
// ErrNotOwner where it does not and Redis belongs to another installation, whose
// task it may be.
func (q *Queue) Mine(ctx context.Context, v Verify) (bool, error) {
	if v.Installation == q.owner().Installation {
		return true, nil
	}
	return false, q.Check(ctx)
}

// adoptScript replaces the value that was seen, and reports 0 where it has
// changed meanwhile.
var adoptScript = redis.NewScript(`
	if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
		return 0
	end
	redis.call('SET', KEYS[1], ARGV[2])
	return 1`)

// Adopt makes the queue belong to the installation of q, under a new epoch, and
// deletes the tasks that are on it, which are of the former owner. It returns how
// many those were. The caller makes sure that nothing of the former owner runs.
func (q *Queue) Adopt(ctx context.Context) (deleted int, err error) {
	_, seen, err := q.held(ctx)
	if err != nil {
		return 0, err
	}
	_, value := q.fresh()
	done, err := adoptScript.Run(ctx, q.redis, []string{epochKey}, seen, value).Bool()
	switch {
	case err != nil:
		return 0, fmt.Errorf("adopt queue: %w", err)
	case !done:
		return 0, errors.New("adopt queue: its owner changed at this moment: see 'revalidator status', and try again")
	}
	if err := q.Announce(ctx); err != nil {
		return 0, err
	}
	inspector := asynq.NewInspectorFromRedisClient(q.redis)
	for _, name := range Queues() {
		for _, empty := range []func(string) (int, error){
			inspector.DeleteAllPendingTasks, inspector.DeleteAllScheduledTasks, inspector.DeleteAllRetryTasks,
			inspector.DeleteAllArchivedTasks, inspector.DeleteAllCompletedTasks,
		} {
			n, err := empty(name)
			if err != nil {
				return deleted, fmt.Errorf("empty queue %s: %w", name, err)
			}
			deleted += n
		}
	}
	return deleted, nil
}

// fresh is the ownership of q under a new epoch, and how it is kept.
func (q *Queue) fresh() (ownership, string) {
	o := ownership{q.owner(), uuid.NewString()}
	value, err := json.Marshal(o)
	if err != nil {
		panic(err) // three strings
	}
	return o, string(value)
}

// held is the ownership that Redis holds, and how it is kept; that is empty where
// there is none. What no release of this program wrote belongs to somebody unknown.
func (q *Queue) held(ctx context.Context) (o ownership, value string, err error) {
	value, err = q.redis.Get(ctx, epochKey).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return ownership{}, "", nil
	case err != nil:
		return ownership{}, "", fmt.Errorf("read queue epoch: %w", err)
	}
	if err := json.Unmarshal([]byte(value), &o); err != nil {
		return ownership{Owner: Owner{Installation: "unknown"}}, value, nil
	}
	return o, value, nil
}

// Announce makes the queues known to asynq's inspector and web UI, also before
// the first task. It makes them nobody's.
func (q *Queue) Announce(ctx context.Context) error {
	for _, name := range Queues() {
		if err := q.redis.SAdd(ctx, "asynq:queues", name).Err(); err != nil {
			return fmt.Errorf("announce queue %s: %w", name, err)
		}
	}
	return nil
}
