package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"revalidator/jobs"
)

// runNoop is the role of a worker that does nothing: how many tasks a second
// asynq can put on the queue, hand out and take back here. It prints how long
// it took.
func runNoop(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(roleNoop, flag.ContinueOnError)
	tasks := flags.Int("tasks", 20_000, "number of tasks")
	workers := flags.Int("workers", 256, "concurrency")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return errors.New("REDIS_URL: not a URL of a Redis")
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	var handled atomic.Int64
	done := make(chan struct{})
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: *workers, Queues: map[string]int{"noop": 1}, LogLevel: asynq.WarnLevel,
		TaskCheckInterval: 200 * time.Millisecond,
	})
	err = server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		if handled.Add(1) == int64(*tasks) {
			close(done)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	defer server.Shutdown()
	started := time.Now()
	if err := enqueueNoop(ctx, asynq.NewClientFromRedisClient(rdb), *tasks); err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Println(time.Since(started).Nanoseconds())
	return nil
}

// enqueueNoop puts tasks like those of the program on the queue.
func enqueueNoop(ctx context.Context, client *asynq.Client, tasks int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range tasks {
		group.Go(func() error {
			v := jobs.Verify{ReceiptID: int64(i) + 1, Generation: 1, RunID: 1, BundleID: appID}
			payload, err := json.Marshal(v)
			if err != nil {
				return err
			}
			task := asynq.NewTask(jobs.TypeVerify, payload, asynq.TaskID(v.TaskID()), asynq.Queue("noop"), asynq.MaxRetry(3), asynq.Timeout(time.Minute))
			_, err = client.EnqueueContext(ctx, task)
			return err
		})
	}
	return group.Wait()
}
