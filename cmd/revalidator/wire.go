package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/robfig/cron/v3"

	"revalidator/internal/appstore"
	"revalidator/internal/ratelimit"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/internal/web"
	"revalidator/jobs"
	"revalidator/scheduler"
	"revalidator/worker"
)

// taskGrace is what a task may take next to the call to Apple: waiting for the
// limiter, a second call to the other environment, and storing the outcome.
const taskGrace = 2 * time.Minute

func (s *parts) queue() *jobs.Queue {
	timeout := 2*s.cfg.Apple.Timeout + s.cfg.Worker.LimiterWait + taskGrace
	return jobs.NewQueue(s.redis, timeout.Round(time.Second)).Retaining(s.cfg.Web.Retention).Of(s.owner)
}

// schedule is when nightly runs start.
func (s *parts) schedule() (report.Schedule, error) {
	schedule, err := cron.ParseStandard(s.cfg.Schedule.Cron)
	if err != nil {
		return report.Schedule{}, terminal.Usage(fmt.Errorf("REVALIDATOR_SCHEDULE: %w", err))
	}
	return report.Schedule{Schedule: schedule, Zone: s.cfg.Schedule.TimeZone.Location, Window: s.cfg.Schedule.RunWindow}, nil
}

// scheduler feeds runs as a process of a kind.
func (s *parts) scheduler(reg prometheus.Registerer, kind jobs.Kind) (*scheduler.Scheduler, error) {
	schedule, err := s.schedule()
	if err != nil {
		return nil, err
	}
	limiter, err := s.limiter()
	if err != nil {
		return nil, err
	}
	name := processName()
	return scheduler.New(scheduler.Config{
		Store: s.db, Queue: s.queue(), Presence: s.presence(kind, name), Budgets: limiter, Clocks: s.db,
		Owner:     name,
		StartedBy: fmt.Sprintf("%s@%s, pid %d", userName(), hostName(), os.Getpid()),
		Schedule:  schedule.Schedule, Zone: schedule.Zone,
		Window: schedule.Window, CatchUp: s.cfg.Schedule.CatchUp,
		Feed: scheduler.FeedConfig{
			Ahead: s.cfg.Queue.Ahead, Depth: s.cfg.Queue.Depth,
			ClaimLease: s.cfg.Queue.ClaimLease, OwnerLease: s.cfg.Queue.OwnerLease,
			LargeBytes: s.cfg.Worker.LargeReceiptBytes,
		},
		Maintenance: scheduler.MaintenanceConfig{
			Store: s.db, RunItems: s.cfg.Keep.RunItems, RunFailures: s.cfg.Keep.RunFailures, Runs: s.cfg.Keep.Runs, Events: s.cfg.Keep.Events,
		},
		Now: s.clock.Now, Dates: s.clock.AppleTime,
		Logger: s.log, Registerer: reg,
	})
}

// processName tells this process from every other.
func processName() string {
	return fmt.Sprintf("%s/%d/%s", hostName(), os.Getpid(), uuid.NewString()[:8])
}

// hostName is empty where the machine does not tell.
func hostName() string {
	host, _ := os.Hostname()
	return host
}

// userName is the account that this process runs as. A container may have no name
// for it.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// limiter keeps the budgets of the apps, which everybody who asks Apple shares.
func (s *parts) limiter() (*ratelimit.Limiter, error) {
	return ratelimit.New(ratelimit.Config{
		Redis: s.redis, MaxWait: s.cfg.Worker.LimiterWait,
		Patience: 2 * s.cfg.Apple.Timeout, // a large receipt takes longer than the timeout of a small one
	})
}

func (s *parts) appStore() (*appstore.Client, error) {
	return appstore.New(appstore.Config{
		ProductionURL: s.cfg.Apple.ProductionURL, SandboxURL: s.cfg.Apple.SandboxURL,
		Timeout:         s.cfg.Apple.Timeout,
		MaxRequestBytes: s.cfg.Apple.MaxRequestBytes, LimitMargin: s.cfg.Apple.LimitMargin, MaxReplyBytes: s.cfg.Apple.MaxReplyBytes,
		MaxDepth: s.cfg.Apple.MaxReplyDepth, MaxRecords: s.cfg.Apple.MaxReplyRecords, MaxTextBytes: s.cfg.Apple.MaxReplyTextBytes,
		Now: s.clock.Now, Logger: s.log,
	})
}

func (s *parts) worker(reg prometheus.Registerer) (*worker.Worker, error) {
	limiter, err := s.limiter()
	if err != nil {
		return nil, err
	}
	client, err := s.appStore()
	if err != nil {
		return nil, err
	}
	policy, err := s.policy()
	if err != nil {
		return nil, err
	}
	verifiers, err := s.verifiers()
	if err != nil {
		return nil, err
	}
	return worker.New(worker.Config{
		Store: s.db, AppStore: client, Limiter: limiter, Keys: s.keys, Redis: s.redis, Clocks: s.db,
		Queue: s.queue(), Presence: s.presence(jobs.KindWorker, processName()),
		Data:      func(id, size int64) appstore.Receipt { return s.db.ReceiptData(id, size) },
		Signature: verifiers.StoredReceipt,
		Policy:    policy,
		Retry: worker.RetryPolicy{
			Base: s.cfg.Worker.RetryBase, Max: s.cfg.Worker.RetryMax, Limit: s.cfg.Worker.RetryLimit,
		},
		ExcludeOldTransactions: s.cfg.Apple.ExcludeOldTransactions,
		Concurrency:            s.cfg.Worker.Concurrency, LargeConcurrency: s.cfg.Worker.LargeConcurrency,
		MemoryBytes: s.cfg.Worker.MemoryBytes,
		BatchSize:   s.cfg.Worker.BatchSize, BatchDelay: s.cfg.Worker.BatchDelay,
		ShutdownTimeout: s.cfg.Worker.ShutdownTimeout,
		ShowResults:     s.cfg.Web.Retention > 0,
		Now:             s.clock.Now, Dates: s.clock.AppleTime, MeasureDates: s.readClocks, ClockTolerance: s.cfg.Apple.ClockTolerance,
		Logger: s.log, Registerer: reg,
	})
}

func (s *parts) checks() map[string]web.Check {
	return map[string]web.Check{
		"postgres": s.db.Ping,
		"redis":    s.pingRedis,
		"schema":   s.rightSchema,
		"clock":    s.clockIsRight,
	}
}

// writerChecks are the checks of those who store something.
func (s *parts) writerChecks() map[string]web.Check {
	checks := s.checks()
	checks["writable"] = s.db.Writable
	return checks
}

// readClocks reads the clocks now.
func (s *parts) readClocks(ctx context.Context) error { return s.clock.Measure(ctx) }

// clockIsRight fails while checks are held because the clock is wrong.
func (s *parts) clockIsRight(ctx context.Context) error {
	wrong, err := report.ReadWrongClocks(ctx, s.db)
	for _, c := range wrong {
		err = errors.Join(err, errors.New(c.String()))
	}
	return err
}
