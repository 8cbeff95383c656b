package faults

import (
	"context"
	"fmt"
	"time"

	"revalidator/jobs"
)

func schedulerScenarios() []Scenario {
	return []Scenario{
		{
			Name: "killed before enqueue", Short: true,
			Faults:    "kill -9 of the scheduler between its claims and their tasks",
			Recovered: claimsOfTheDeadAreFree, Attack: killBeforeEnqueue,
		},
		{
			Name:      "killed while enqueuing",
			Faults:    "kill -9 of the scheduler when a part of the tasks is queued",
			Recovered: claimsOfTheDeadAreFree, Attack: killWhileEnqueuing,
		},
		{
			Name:       "schedulers killed",
			Faults:     "kill -9 of one of 2 schedulers every 3 s, 4 times",
			Schedulers: 2, Length: 15 * time.Second,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.replaceSchedulers(ctx, 4, 3*time.Second, w.KillScheduler)
			}),
		},
		{
			Name:   "scheduler stopped",
			Faults: "SIGTERM to the only scheduler 4 times, another after 1 s",
			Length: 15 * time.Second,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.replaceSchedulers(ctx, 4, time.Second, w.StopScheduler)
			}),
		},
		{
			Name: "two schedulers", Faults: "2 schedulers and 3 workers from the start",
			Schedulers: 2, Workers: 3, Attack: afterAStart(func(context.Context, *World) error { return nil }),
		},
		{
			Name: "two operators", Faults: "'run' typed twice at the same time, without a scheduler",
			Start:  func(w *World) error { return w.startWithOperators(2) },
			Attack: afterAStart(func(ctx context.Context, w *World) error { return w.operatorsAreTold(ctx) }),
		},
		{
			Name: "orphan run", Faults: "kill -9 of the only 'run', and 'run' once more, without a scheduler",
			Start:     func(w *World) error { return w.startWithOperators(1) },
			Recovered: claimsOfTheDeadAreFree,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				if err := w.operators[0].Kill(); err != nil {
					return err
				}
				w.harm, w.operators = time.Now(), nil
				if err := w.startOperator(); err != nil {
					return err
				}
				return w.operatorsAreTold(ctx)
			}),
		},
	}
}

// startWithOperators starts two workers and people who type 'run'.
func (w *World) startWithOperators(n int) error {
	for range 2 {
		if err := w.StartWorker(); err != nil {
			return err
		}
	}
	for range n {
		if err := w.startOperator(); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) startOperator() error {
	p, err := w.start(w.feederEnv, "run", "--quiet", "--json")
	if err == nil {
		w.operators = append(w.operators, p)
	}
	return err
}

// operatorsAreTold waits until every 'run' has ended, which each must do well, with
// all receipts done: whoever did them.
func (w *World) operatorsAreTold(ctx context.Context) error {
	for _, p := range w.operators {
		select {
		case <-p.Ended():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := p.Err(); err != nil {
			return &brokenPromise{fmt.Sprintf("%s ended with %v", p.name, err)}
		}
		if want := fmt.Sprintf(`"succeeded": %d,`, w.suite.receipts); !p.said(want) {
			return &brokenPromise{fmt.Sprintf("%s does not tell of %s", p.name, want)}
		}
	}
	return nil
}

func (w *World) replaceSchedulers(ctx context.Context, times int, pause time.Duration, end func() error) error {
	for range times {
		if err := end(); err != nil {
			return err
		}
		if err := hold(ctx, pause); err != nil {
			return err
		}
		if err := w.StartScheduler(); err != nil {
			return err
		}
		if err := w.moves(ctx); err != nil {
			return err
		}
	}
	return nil
}

// moves waits until one more result is stored, or all are.
func (w *World) moves(ctx context.Context) error {
	before, err := w.Done(ctx)
	if err != nil {
		return err
	}
	return await(ctx, "one more result is stored", patience, func(ctx context.Context) (bool, error) {
		now, err := w.Done(ctx)
		return now > before || now == w.suite.receipts, err
	})
}

// killBeforeEnqueue closes the queues to the scheduler, which finds them closed
// after its claims are committed, and kills it before it can try again.
func killBeforeEnqueue(ctx context.Context, w *World) error {
	if err := w.Progress(ctx, 0.1); err != nil {
		return err
	}
	if err := w.allowFeeder(ctx, "~revalidator:*"); err != nil {
		return err
	}
	err := await(ctx, "there are claims and no task", patience, func(ctx context.Context) (bool, error) {
		claimed, tasks, err := w.claimedAndQueued(ctx)
		return claimed > 0 && tasks == 0, err
	})
	if err != nil {
		return err
	}
	if err := w.killAndReplaceScheduler(ctx); err != nil {
		return err
	}
	return w.allowFeeder(ctx, "~*")
}

// killWhileEnqueuing makes each call to Redis slow, so that the tasks of a claim
// come one by one, and kills when some of them are there.
func killWhileEnqueuing(ctx context.Context, w *World) error {
	if err := w.Progress(ctx, 0.1); err != nil {
		return err
	}
	w.SchedulerRedis.Add(delay(150*time.Millisecond, 0))
	err := await(ctx, "a part of the claims has tasks", patience, func(ctx context.Context) (bool, error) {
		claimed, tasks, err := w.claimedAndQueued(ctx)
		return tasks > 0 && claimed > tasks, err
	})
	if err != nil {
		return err
	}
	return w.killAndReplaceScheduler(ctx)
}

func (w *World) killAndReplaceScheduler(ctx context.Context) error {
	if err := w.KillScheduler(); err != nil {
		return err
	}
	if err := w.SchedulerRedis.Mend(ctx); err != nil {
		return err
	}
	return w.StartScheduler()
}

// claimedAndQueued counts claims, and the tasks that are queued or in hand.
func (w *World) claimedAndQueued(ctx context.Context) (claimed, tasks int, err error) {
	for _, queue := range jobs.Queues() {
		for _, list := range []string{"pending", "active"} {
			n, err := w.Redis.LLen(ctx, "asynq:{"+queue+"}:"+list).Result()
			if err != nil {
				return 0, 0, err
			}
			tasks += int(n)
		}
	}
	claimed, err = w.number(ctx, `SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL`)
	return claimed, tasks, err
}
