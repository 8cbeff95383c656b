package faults

import (
	"context"
	"fmt"
	"time"
)

func redisScenarios() []Scenario {
	return []Scenario{
		{
			Name: "Redis emptied", Short: true, Faults: "FLUSHALL 3 times, 3 s apart",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				for range 3 {
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
				return w.redisServer.Resume(ctx)
			}),
		},
		{
			// For more than 30 s: then asynq's leases run out in the workers.
			Name: "Redis unreachable", Faults: "connections refused for a minute", AsksAgain: true,
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
				if err := w.SchedulerRedis.Add(delay(100*time.Millisecond, 50*time.Millisecond)); err != nil {
					return err
				}
				if err := w.WorkerRedis.Suffer(ctx, delay(100*time.Millisecond, 50*time.Millisecond), 10*time.Second); err != nil {
					return err
				}
				return w.SchedulerRedis.Mend(ctx)
			}),
		},
		{
			Name: "Redis full", Faults: "maxmemory below what is used, for 8 s",
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.withRedisMemory(ctx, 1, 8*time.Second)
			}),
		},
	}
}

func (w *World) withRedisMemory(ctx context.Context, bytes int, d time.Duration) error {
	if err := w.Redis.ConfigSet(ctx, "maxmemory", fmt.Sprint(bytes)).Err(); err != nil {
		return err
	}
	if err := hold(ctx, d); err != nil {
		return err
	}
	return w.Redis.ConfigSet(ctx, "maxmemory", "0").Err()
}
