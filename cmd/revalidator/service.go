package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"revalidator/internal/config"
	"revalidator/internal/stores"
	"revalidator/internal/terminal"
	"revalidator/internal/web"
	"revalidator/jobs"
)

// How long Postgres may be silent over one statement: in a service, where
// statements are short and a stand-still must end; and in a command, where some
// go over every row.
const (
	servicePatience   = 2 * time.Minute
	statementPatience = time.Hour
)

// openService reads the settings and prepares what a service needs of Postgres
// and Redis, whether they are there yet or not. Wrong settings fail at once.
func (p *program) openService(withKeys bool) (*parts, error) {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return nil, terminal.Usage(err)
	}
	s := &parts{cfg: cfg, log: p.logger(cfg.Log)}
	if err := noCoreDumps(); err != nil {
		s.log.Warn("core dumps stay on: they would hold secrets", "error", err)
	}
	for _, w := range cfg.Weaknesses() {
		s.log.Warn("weak set-up", "setting", w.Setting, "problem", w.Problem, "fix", w.Fix)
	}
	if withKeys {
		err = s.openKeys()
	}
	if err == nil {
		err = s.connectDatabase(servicePatience)
	}
	if err == nil {
		err = s.connectRedis()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// await waits until Postgres, with the tables of this version, and Redis are
// there, as long as the settings say: services may be started in any order. Those
// that store something wait until they may, too.
func (s *parts) await(ctx context.Context, writes bool) error {
	writable := stores.Store{Name: "writable", Ready: func(ctx context.Context) error {
		if !writes {
			return nil
		}
		return s.db.Writable(ctx)
	}}
	waiter := stores.Waiter{For: s.cfg.Start.Wait, Final: []error{errNewerSchema, jobs.ErrNotOwner}, Log: s.log}
	// Twice: a standby says more than its missing tables do, and the rights are those
	// on the tables of this version.
	return waiter.Await(ctx, stores.Store{Name: "postgres", Ready: s.reachDatabase}, writable, stores.Store{Name: "schema", Ready: s.rightSchema}, writable,
		stores.Store{Name: "redis", Ready: s.reachRedis}, stores.Store{Name: "clock", Ready: s.readClocks}, stores.Store{Name: "queue", Ready: s.ownQueue})
}

// stopped is the error of a service, none where it was asked to stop: it may have
// been waiting then.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// beside runs a service with the metrics and health pages next to it, where they
// are asked for, until both have ended. The pages are there while the service
// waits for its stores.
func (s *parts) beside(ctx context.Context, reg *prometheus.Registry, alive web.Check, service func(context.Context) error) error {
	defer s.clock.Keep(ctx)()
	if s.cfg.Web.MetricsAddr == "" {
		return stopped(ctx, service(ctx))
	}
	pages, err := web.New(web.Config{
		Addr: s.cfg.Web.MetricsAddr, Alive: alive, Checks: s.writerChecks(), Gatherer: reg, Logger: s.log,
	})
	if err != nil {
		return err
	}
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return pages.Run(both) })
	group.Go(func() error { return service(both) })
	return stopped(ctx, group.Wait())
}
