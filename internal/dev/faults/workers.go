package faults

import (
	"context"
	"errors"
	"syscall"
	"time"
)

func workerScenarios() []Scenario {
	return []Scenario{
		{
			Name: "worker killed", Short: true,
			Faults: "kill -9 of one of 3 workers every 2 s, 8 times",
			Length: 20 * time.Second, Workers: 3, AsksAgain: true,
			Attack: killWorkers(8), Recovered: claimsOfTheDeadAreFree,
		},
		{
			Name:      "all workers killed",
			Faults:    "kill -9 of both workers at once, others after 3 s",
			AsksAgain: true, Recovered: claimsOfTheDeadAreFree,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				for range 2 {
					if err := w.KillWorker(ctx); err != nil {
						return err
					}
				}
				if err := hold(ctx, 3*time.Second); err != nil {
					return err
				}
				return w.StartWorker()
			}),
		},
		{
			Name: "worker stopped", Short: true,
			Faults:  "SIGTERM to a worker every 2 s, 4 times, with calls of 0.5 s",
			Prepare: slowAppStore, Attack: stopWorkers(4),
		},
		{
			Name:       "workers come and go",
			Faults:     "1 to 5 workers and 2 schedulers, started and stopped",
			Schedulers: 2, Workers: 1, Length: 15 * time.Second,
			Attack: comeAndGo,
		},
		{
			Name:   "worker frozen",
			Faults: "SIGSTOP to one of 2 workers for 5 s, twice: longer than it waits for a slot", AsksAgain: true,
			Length: 20 * time.Second,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				for range 2 {
					if err := w.freeze(ctx, 5*time.Second, w.workers[:1]); err != nil {
						return err
					}
					if err := hold(ctx, time.Second); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		{
			Name:   "workers frozen for long",
			Faults: "SIGSTOP to both workers for 12 s, longer than a lease, with a third meanwhile", AsksAgain: true,
			Length: 20 * time.Second,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				frozen := w.workers
				if err := w.StartWorker(); err != nil {
					return err
				}
				return w.freeze(ctx, lease+4*time.Second, frozen)
			}),
		},
		poisonReceipt(),
		withoutStores(),
	}
}

// afterAStart waits until the night is well on its way.
func afterAStart(attack func(context.Context, *World) error) func(context.Context, *World) error {
	return func(ctx context.Context, w *World) error {
		if err := w.Progress(ctx, 0.1); err != nil {
			return err
		}
		return attack(ctx, w)
	}
}

func killWorkers(times int) func(context.Context, *World) error {
	return afterAStart(func(ctx context.Context, w *World) error {
		for range times {
			if err := w.KillWorker(ctx); err != nil {
				return err
			}
			if err := w.StartWorker(); err != nil {
				return err
			}
			if err := hold(ctx, 2*time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}

// claimsOfTheDeadAreFree is when no claim is left that is older than the last
// kill.
func claimsOfTheDeadAreFree(ctx context.Context, w *World) (bool, error) {
	n, err := w.number(ctx, `SELECT count(*) FROM receipts WHERE claimed_until < $1`, w.harm.Add(lease))
	return n == 0, err
}

func stopWorkers(times int) func(context.Context, *World) error {
	return afterAStart(func(ctx context.Context, w *World) error {
		for range times {
			if err := w.StartWorker(); err != nil {
				return err
			}
			if err := w.StopWorker(); err != nil {
				return err
			}
			if err := hold(ctx, 2*time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}

// freeze has processes stand still for a while, as a machine may that is frozen.
// Answers that they had, or that came since, are lost with the claims that run out
// meanwhile.
func (w *World) freeze(ctx context.Context, d time.Duration, frozen []*process) error {
	for _, p := range frozen {
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
	}
	const onItsWay = time.Second // an answer, until it is counted
	err := hold(ctx, onItsWay)
	if err == nil {
		err = errors.Join(w.lose(ctx), hold(ctx, d-onItsWay))
	}
	for _, p := range frozen {
		err = errors.Join(err, p.Signal(syscall.SIGCONT))
	}
	return err
}

func comeAndGo(ctx context.Context, w *World) error {
	if err := w.Progress(ctx, 0.05); err != nil {
		return err
	}
	for _, more := range []bool{true, true, true, true, false, false, true, false, false, false} {
		change := w.StopWorker
		if more {
			change = w.StartWorker
		}
		if err := change(); err != nil {
			return err
		}
		if err := hold(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}
