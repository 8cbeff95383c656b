package faults

import (
	"context"
	"fmt"
	"time"
)

func redisScenarios() []Scenario {
	return []Scenario{
		{
			Name: "Redis emptied", Short: true, Faults: "FLUSHALL 3 times, 3 s apart", AsksAgain: true,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				for range 3 {
					// Calls on their way go on, under claims that are void now.
					if err := w.lose(ctx); err != nil {
						return err
					}
					if err := w.Redis.FlushAll(ctx).Err(); err != nil {
						return err
					}
					if err := hold(ctx, 3*time.Second); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		{
			Name: "Redis restarted", Faults: "stopped, and started without any key after 3 s",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				if err := w.redisServer.Stop(); err != nil {
					return err
				}
				if err := hold(ctx, 3*time.Second); err != nil {
					return err
				}
				if err := w.redisServer.Resume(ctx); err != nil {
					return err
				}
				return w.allowFeeder(ctx, "~*")
			}),
		},
		{
			// For more than 30 s: then asynq's leases run out in the workers.
			Name: "Redis unreachable", Faults: "connections refused for a minute",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				w.WorkerRedis.Cut()
				w.SchedulerRedis.Cut()
				if err := hold(ctx, time.Minute); err != nil {
					return err
				}
				if err := w.WorkerRedis.Mend(ctx); err != nil {
					return err
				}
				return w.SchedulerRedis.Mend(ctx)
			}),
		},
		{
			Name: "Redis slow", Faults: "each answer 50 to 150 ms late, for 10 s",
			RateSlack: time.Second,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				w.SchedulerRedis.Add(delay(100*time.Millisecond, 50*time.Millisecond))
				if err := w.WorkerRedis.Suffer(ctx, delay(100*time.Millisecond, 50*time.Millisecond), 10*time.Second); err != nil {
					return err
				}
				return w.SchedulerRedis.Mend(ctx)
			}),
		},
		{
			Name: "Redis' clock set back", Faults: "all budgets an hour ahead of its clock, 3 times, 2 s apart",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.everyBudget(ctx, 3, func(key string) error {
					return w.Redis.HIncrBy(ctx, key, "slot", time.Hour.Microseconds()).Err()
				})
			}),
		},
		{
			Name: "budgets restored", Faults: "all budgets as they were at the start, as of an old snapshot, 3 times, 2 s apart",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				snapshot := make(map[string]string)
				err := w.everyBudget(ctx, 1, func(key string) (err error) {
					snapshot[key], err = w.Redis.Dump(ctx, key).Result()
					return err
				})
				if err != nil {
					return err
				}
				return w.everyBudget(ctx, 3, func(key string) error {
					if snapshot[key] == "" {
						return w.Redis.Del(ctx, key).Err()
					}
					return w.Redis.RestoreReplace(ctx, key, time.Hour, snapshot[key]).Err()
				})
			}),
		},
		{
			// For less than the lease: claims that run out on the queue are asked about
			// by who takes them at that moment, and again.
			Name: "Redis full", Faults: "maxmemory below what is used, for 5 s",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				if err := w.limitRedis(ctx, 1); err != nil {
					return err
				}
				if err := hold(ctx, 5*time.Second); err != nil {
					return err
				}
				return w.limitRedis(ctx, 0)
			}),
		},
	}
}

// everyBudget does something to the budgets of all apps, several times.
func (w *World) everyBudget(ctx context.Context, times int, do func(key string) error) error {
	for range times {
		for keys := w.Redis.Scan(ctx, 0, "revalidator:rate:{*}:*", 1000).Iterator(); keys.Next(ctx); {
			if err := do(keys.Val()); err != nil {
				return fmt.Errorf("%s: %w", keys.Val(), err)
			}
		}
		if err := hold(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// limitRedis sets how many bytes Redis may use; 0 is all it likes.
func (w *World) limitRedis(ctx context.Context, bytes int) error {
	return w.Redis.ConfigSet(ctx, "maxmemory", fmt.Sprint(bytes)).Err()
}

// feeder is the user that schedulers are for Redis, so that keys can be taken
// from them alone.
const feeder = "feeder"

// allowFeeder makes the user, with all commands and the keys of a pattern.
func (w *World) allowFeeder(ctx context.Context, keys string) error {
	return w.Redis.ACLSetUser(ctx, feeder, "on", ">"+rolePass, "resetkeys", keys, "&*", "+@all").Err()
}
