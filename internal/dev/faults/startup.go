package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// withoutStores starts the programs before the stores, as a machine does that
// starts everything at once, and lets Postgres come before Redis.
func withoutStores() Scenario {
	return Scenario{
		Name: "start without stores", Faults: "connections refused at the start, by Postgres for 4 s, then by Redis for 3 s",
		Start: func(w *World) error {
			for _, l := range []*Link{w.WorkerPostgres, w.WorkerRedis, w.SchedulerPostgres, w.SchedulerRedis} {
				l.Cut()
			}
			return w.startWithPages()
		},
		Attack: func(ctx context.Context, w *World) error {
			for _, wait := range []struct {
				store string
				ways  []*Link
				d     time.Duration
			}{
				{"postgres", []*Link{w.WorkerPostgres, w.SchedulerPostgres}, 4 * time.Second},
				{"redis", []*Link{w.WorkerRedis, w.SchedulerRedis}, 3 * time.Second},
			} {
				if err := errors.Join(w.allWaitFor(ctx, wait.store), hold(ctx, wait.d)); err != nil {
					return err
				}
				for _, l := range wait.ways {
					if err := l.Mend(ctx); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Recovered: func(ctx context.Context, w *World) (bool, error) {
			if err := w.allAreReady(ctx); err != nil {
				return false, err
			}
			done, err := w.Done(ctx)
			return done > 0, err
		},
	}
}

// startWithPages starts two workers and a scheduler with their health pages.
func (w *World) startWithPages() error {
	for _, part := range []struct {
		env  []string
		kind string
		into *[]*process
	}{
		{w.workerEnv, "worker", &w.workers}, {w.workerEnv, "worker", &w.workers}, {w.feederEnv, "scheduler", &w.schedulers},
	} {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		p, err := w.start(append(slices.Clone(part.env), "REVALIDATOR_METRICS_ADDR="+address), part.kind)
		if err != nil {
			return err
		}
		p.pages = address
		*part.into = append(*part.into, p)
	}
	return nil
}

// allWaitFor waits until each program says in its log that it waits for a store,
// and holds its pages to that: it is alive, lest a supervisor start it again and
// again, and it is not ready.
func (w *World) allWaitFor(ctx context.Context, store string) error {
	for _, p := range w.everything {
		if err := p.says(ctx, `level=WARN msg=waiting for=`+store+` `); err != nil {
			return err
		}
		if err := p.answers(ctx, "/healthz", http.StatusOK); err != nil {
			return err
		}
		if err := p.answers(ctx, "/readyz", http.StatusServiceUnavailable); err != nil {
			return err
		}
	}
	return nil
}

// allAreReady waits until each program says that its waits are over, and is ready.
func (w *World) allAreReady(ctx context.Context) error {
	for _, p := range w.everything {
		for _, store := range []string{"postgres", "redis"} {
			if err := p.says(ctx, `level=INFO msg="wait is over" for=`+store); err != nil {
				return err
			}
		}
		if err := p.answers(ctx, "/readyz", http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

// says waits for words in the log of a program.
func (p *process) says(ctx context.Context, words string) error {
	return await(ctx, fmt.Sprintf("%s says %q", p.name, words), patience, func(context.Context) (bool, error) {
		text, err := os.ReadFile(p.log)
		return strings.Contains(string(text), words), err
	})
}

// said is whether a program has written something.
func (p *process) said(words string) bool {
	text, err := os.ReadFile(p.log)
	return err == nil && strings.Contains(string(text), words)
}

// answers waits until a page of a program answers with a status.
func (p *process) answers(ctx context.Context, page string, want int) error {
	return await(ctx, fmt.Sprintf("%s of %s answers %d", page, p.name, want), pagePatience, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.pages+page, nil)
		if err != nil {
			return false, err
		}
		reply, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err
		}
		return reply.StatusCode == want, reply.Body.Close()
	})
}

// pagePatience is longer than a page may take to look at the stores.
const pagePatience = 10 * time.Second
