package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"

	"revalidator/internal/appstore"
	"revalidator/internal/config"
	"revalidator/internal/keyring"
	"revalidator/internal/ledger"
	"revalidator/internal/ratelimit"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/internal/web"
	"revalidator/jobs"
	"revalidator/repository"
	"revalidator/scheduler"
	"revalidator/worker"
)

// program is what every subcommand shares: the terminal and the environment of the
// process. The parts below are made when a command needs them.
type program struct {
	terminal.Terminal
	environ []string
}

// isSet reports whether a variable of the environment is there and not empty.
func (p *program) isSet(name string) bool {
	for _, variable := range p.environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok && value != "" {
			return true
		}
	}
	return false
}

// parts are the opened parts of the program. Each command opens what it needs
// and closes it with close.
type parts struct {
	cfg   config.Config
	log   *slog.Logger
	db    *repository.DB
	redis redis.UniversalClient
	keys  *keyring.Ring
	// installation is of db, nil until it is read.
	installation atomic.Pointer[ledger.Installation]
	clocks
	// operations reads the stores for metrics, nil where none are served.
	operations *report.Operations
}

// need names a part that a command cannot do without.
type need int

const (
	needDatabase    need = iota // of the schema that this program knows
	needNewDatabase             // of whatever schema
	needRedis
	needKeys
)

// open reads the settings and opens what a command needs, so that what is
// missing is one clear error before any work.
func (p *program) open(ctx context.Context, needs ...need) (*parts, error) {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return nil, terminal.Usage(err)
	}
	parts := &parts{cfg: cfg, log: p.logger(cfg.Log)}
	for _, n := range needs {
		if err := parts.open(ctx, n); err != nil {
			parts.close()
			return nil, err
		}
	}
	return parts, nil
}

func (p *program) logger(cfg config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(p.Err, options))
	}
	return slog.New(slog.NewTextHandler(p.Err, options))
}

func (s *parts) open(ctx context.Context, n need) error {
	switch n {
	case needDatabase, needNewDatabase:
		return s.openDatabase(ctx, n == needNewDatabase)
	case needRedis:
		return s.openRedis(ctx)
	case needKeys:
		return s.openKeys()
	}
	return nil
}

func (s *parts) openKeys() error {
	if err := s.cfg.RequireKeys(); err != nil {
		return terminal.Usage(err)
	}
	keys, err := keyring.Open(s.cfg.Keys.Keyset)
	if err != nil {
		return terminal.Usage(err)
	}
	s.keys = keys
	return nil
}

func (s *parts) openDatabase(ctx context.Context, anySchema bool) error {
	if err := s.connectDatabase(statementPatience); err != nil {
		return err
	}
	if err := s.reachDatabase(ctx); err != nil || anySchema {
		return err
	}
	if err := s.rightSchema(ctx); err != nil {
		return err
	}
	if err := s.readInstallation(ctx); err != nil {
		return err
	}
	return s.readClocks(ctx)
}

// connectDatabase prepares the connections, and makes none yet.
func (s *parts) connectDatabase(patience time.Duration) error {
	if err := s.cfg.RequireDatabase(); err != nil {
		return terminal.Usage(err)
	}
	db, err := repository.Open(repository.Config{
		URL: s.cfg.Database.URL, ApplicationName: "revalidator", Patience: patience,
		Unusual:           ledger.Unusual{Receipts: s.cfg.Quarantine.StopReceipts, Share: float64(s.cfg.Quarantine.StopPercent) / 100},
		QuarantineChanged: s.logQuarantine,
	})
	if err != nil {
		return err
	}
	s.db = db
	return s.makeClocks()
}

// logQuarantine logs that the quarantining of an app was stopped or resumed.
func (s *parts) logQuarantine(c ledger.QuarantineChange) {
	log := s.log.With("bundle_id", c.BundleID, "class", c.Class, "receipts", c.Accused, "checked", c.Checked)
	if c.Stopped {
		log.Error("quarantining stopped: too many good receipts have the same failure within a day; see 'revalidator doctor'")
		return
	}
	log.Info("quarantining resumed: nothing was unusual for a day")
}

func (s *parts) reachDatabase(ctx context.Context) error {
	return reach(ctx, "DATABASE_URL", s.db.Ping)
}

// errNewerSchema is a schema that waiting does not mend.
var errNewerSchema = errors.New("upgrade the program")

// rightSchema fails where the schema is not the one that this program knows.
func (s *parts) rightSchema(ctx context.Context) error {
	_, err := s.schema(ctx)
	return err
}

// schema is the version of the schema, or an error where it is not the one that
// this program knows.
func (s *parts) schema(ctx context.Context) (int64, error) {
	current, known, err := s.db.SchemaVersion(ctx)
	switch {
	case err != nil:
		return 0, err
	case current < known:
		return current, fmt.Errorf("the database's schema is version %d, this program needs %d: run 'revalidator migrate'", current, known)
	case current > known:
		return current, fmt.Errorf("the database's schema is version %d, newer than this program knows (%d): %w", current, known, errNewerSchema)
	}
	return current, nil
}

func (s *parts) openRedis(ctx context.Context) error {
	if err := s.connectRedis(); err != nil {
		return err
	}
	return s.reachRedis(ctx)
}

// connectRedis prepares the connections, and makes none yet.
func (s *parts) connectRedis() error {
	client, err := redisClient(s.cfg.Redis)
	if err != nil {
		return terminal.Usage(fmt.Errorf("REDIS_URL: %w", err))
	}
	s.redis = client
	quietRedis(s.log)
	return nil
}

func (s *parts) reachRedis(ctx context.Context) error { return reach(ctx, "REDIS_URL", s.pingRedis) }

// reachTimeout is how long a service may take to answer for the first time.
const reachTimeout = 5 * time.Second

// reach asks a service for a sign of life. The clients have longer timeouts of
// their own, and try several times, so an attempt that is given up on may go on
// beside for some seconds.
func reach(ctx context.Context, setting string, ping func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ping(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", reachTimeout)
	}
	return fmt.Errorf("%w; is it running where %s says?", err, setting)
}

func (s *parts) pingRedis(ctx context.Context) error {
	if err := s.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reach redis: %w", err)
	}
	return nil
}

func redisClient(cfg config.Redis) (redis.UniversalClient, error) {
	url := cfg.URL.Reveal()
	switch cfg.Topology() {
	case config.TopologySentinel:
		options, err := redis.ParseFailoverURL(url)
		if err != nil {
			return nil, errors.New("not a URL of a Sentinel")
		}
		return redis.NewFailoverClient(options), nil
	case config.TopologyCluster:
		options, err := redis.ParseClusterURL(url)
		if err != nil {
			return nil, errors.New("not a URL of a Cluster")
		}
		return redis.NewClusterClient(options), nil
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("not a URL of a Redis")
	}
	return redis.NewClient(options), nil
}

func (s *parts) close() {
	if s.db != nil {
		_ = s.db.Close()
	}
	if s.redis != nil {
		_ = s.redis.Close()
	}
	if s.operations != nil {
		s.operations.Wait()
	}
}

// taskGrace is what a task may take beside the call to Apple: waiting for the
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
		Now: s.now, Dates: s.appleTime,
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
		Now: s.now, Logger: s.log,
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
	return worker.New(worker.Config{
		Store: s.db, AppStore: client, Limiter: limiter, Keys: s.keys, Redis: s.redis, Clocks: s.db,
		Queue: s.queue(), Presence: s.presence(jobs.KindWorker, processName()),
		Data:   func(id, size int64) appstore.Receipt { return s.db.ReceiptData(id, size) },
		Policy: policy,
		Retry: worker.RetryPolicy{
			Base: s.cfg.Worker.RetryBase, Max: s.cfg.Worker.RetryMax, Limit: s.cfg.Worker.RetryLimit,
		},
		ExcludeOldTransactions: s.cfg.Apple.ExcludeOldTransactions,
		Concurrency:            s.cfg.Worker.Concurrency, LargeConcurrency: s.cfg.Worker.LargeConcurrency,
		MemoryBytes: s.cfg.Worker.MemoryBytes,
		BatchSize:   s.cfg.Worker.BatchSize, BatchDelay: s.cfg.Worker.BatchDelay,
		ShutdownTimeout: s.cfg.Worker.ShutdownTimeout,
		ShowResults:     s.cfg.Web.Retention > 0,
		Now:             s.now, Dates: s.appleTime, MeasureDates: s.readClocks, ClockTolerance: s.cfg.Apple.ClockTolerance,
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
