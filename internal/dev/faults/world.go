package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack"
	"revalidator/internal/dev/judge"
)

// World is one installation in which a scenario takes place, a month after its
// first night. Everything in it is due.
type World struct {
	suite    *Suite
	scenario Scenario
	folder   string
	database string

	// Sim is the App Store. Its clock stands still.
	Sim *applesim.Server
	// DB and Redis lead to the servers past every proxy, as a superuser.
	DB    *sql.DB
	Redis *redis.Client
	// The ways of the workers, and those of the schedulers.
	WorkerPostgres, WorkerRedis, WorkerApple *Link
	SchedulerPostgres, SchedulerRedis        *Link

	redisServer          *devstack.Redis
	apple                *appStore
	judge                *judge.Judge
	workerEnv, feederEnv []string
	rate                 float64
	started              time.Time
	// workerBinary is what workers are started from, where it is not the suite's.
	workerBinary string
	// since is the last request before the run that is judged, and runs how many
	// there must be.
	since int64
	runs  int
	// before is the last run that does not count for Done.
	before int

	workers, schedulers []*process
	operators           []*process // who typed 'run'
	everything          []*process
	inFlight            int
	trouble             time.Time     // when that of the App Store began
	calls, probes       int           // meanwhile, and after its first moment
	lag                 time.Duration // how late the machine was at worst
	harm                time.Time     // when the last of it happened
	closers             []func() error
}

// burst is that of every app.
const burst = 5

func (s *Suite) newWorld(ctx context.Context, sc Scenario, name string) (w *World, err error) {
	w = &World{before: 1, runs: 1, suite: s, scenario: sc, folder: filepath.Join(s.folder, name), database: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := os.MkdirAll(w.folder, 0o755); err != nil {
		return w, err
	}
	if err := w.serve(ctx); err != nil {
		return w, err
	}
	if sc.Prepare != nil {
		if err := sc.Prepare(ctx, w); err != nil {
			return w, err
		}
	}
	if err := w.openDatabase(ctx); err != nil {
		return w, err
	}
	return w, w.link()
}

// serve starts the App Store, a month on, and a Redis. The time in it is ours: it
// stands still, and the night is over before that counts.
func (w *World) serve(ctx context.Context) (err error) {
	if w.Sim, err = w.suite.newAppStore(w.scenario.Store); err != nil {
		return err
	}
	w.Sim.Clock().Set(time.Now())
	if w.apple, err = serveAppStore(w.Sim); err != nil {
		return err
	}
	w.defers(func() error { w.apple.close(); return nil })
	if w.redisServer, err = devstack.StartRedis(ctx, devstack.Config{Logger: w.suite.cfg.Logger}); err != nil {
		return err
	}
	w.defers(func() error { return w.redisServer.Stop() })
	if w.redisServer.Simulated {
		return &SkipError{"needs a redis-server"}
	}
	options, err := redis.ParseURL(w.redisServer.URL)
	if err != nil {
		return err
	}
	w.Redis = redis.NewClient(options)
	w.defers(w.Redis.Close)
	return w.allowFeeder(ctx, "~*")
}

// openDatabase copies the installation of the first night, in which a month
// later all is due. A database that Prepare has made stays as it is.
func (w *World) openDatabase(ctx context.Context) (err error) {
	if err := w.createDatabase(ctx, ""); err != nil {
		return err
	}
	if w.DB, err = sql.Open("postgres", w.suite.databaseURL(w.database, true)); err != nil {
		return err
	}
	w.defers(w.DB.Close)
	w.judge = judge.New(w.DB, w.Sim)
	return w.prepareDatabase(ctx)
}

// prepareDatabase gives the apps their rate and makes all due.
func (w *World) prepareDatabase(ctx context.Context) error {
	length := w.scenario.Length
	if length == 0 {
		length = 10 * time.Second
	}
	apps := len(applesim.DefaultApps(simSeed))
	w.rate = float64(w.suite.receipts) / float64(apps) / length.Seconds()
	_, err := w.DB.ExecContext(ctx, `UPDATE apps SET rate_per_second = $1, burst = $2`, w.rate, burst)
	return errors.Join(err, w.makeAllDue(ctx))
}

// now is the time by which receipts are due and results are dated. The programs
// take the clock of the App Store, which stands still, to go on.
func (w *World) now() time.Time {
	clock := w.Sim.Clock()
	return clock.Now().Add(clock.SinceSet())
}

func (w *World) makeAllDue(ctx context.Context) error {
	const statement = `UPDATE receipts SET next_check_at = $1, next_check_rule = 'renewal'`
	if _, err := w.DB.ExecContext(ctx, statement, w.now().Add(-time.Second)); err != nil {
		return fmt.Errorf("make all due: %w", err)
	}
	return nil
}

// createDatabase makes the database of the scenario where it is not there.
func (w *World) createDatabase(ctx context.Context, tablespace string) error {
	w.suite.copying.Lock()
	defer w.suite.copying.Unlock()
	var exists bool
	err := w.suite.admin.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, w.database).Scan(&exists)
	if err != nil || exists {
		return err
	}
	options := ""
	if tablespace != "" {
		options = ` TABLESPACE ` + tablespace
	}
	if err := w.copyLearned(ctx, w.database, options); err != nil {
		return err
	}
	// A sequence is copied with the numbers that its last record in the WAL has in
	// reserve. Until a checkpoint it draws them without another record, and draws
	// them again after a crash.
	if _, err := w.suite.admin.ExecContext(ctx, `CHECKPOINT`); err != nil {
		return fmt.Errorf("copy the first night: %w", err)
	}
	return nil
}

// copyLearned makes a copy of the first night's database, which goes with the world.
func (w *World) copyLearned(ctx context.Context, name, options string) error {
	statement := `CREATE DATABASE ` + name + ` TEMPLATE ` + learned + ` OWNER ` + role + options
	if _, err := w.suite.admin.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("copy the first night: %w", err)
	}
	w.defers(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, err := w.suite.admin.ExecContext(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
		return err
	})
	return nil
}

// link puts a proxy in each way, and makes the environments of the programs.
func (w *World) link() error {
	postgresURL, redisURL, appleURL := w.suite.databaseURL(w.database, false), w.redisServer.URL, w.apple.url
	for _, way := range []struct {
		name   string
		link   **Link
		server string
	}{
		{"worker to Postgres", &w.WorkerPostgres, postgresURL},
		{"worker to Redis", &w.WorkerRedis, redisURL},
		{"worker to Apple", &w.WorkerApple, appleURL},
		{"scheduler to Postgres", &w.SchedulerPostgres, postgresURL},
		{"scheduler to Redis", &w.SchedulerRedis, redisURL},
	} {
		u, err := url.Parse(way.server)
		if err != nil {
			return err
		}
		if *way.link, err = newLink(way.name, u.Host); err != nil {
			return err
		}
		w.defers(func() error { (*way.link).Cut(); return nil })
	}
	feederURL, err := url.Parse(redisURL)
	if err != nil {
		return err
	}
	feederURL.User = url.UserPassword(feeder, rolePass)
	env := func(postgres, redis *Link, redisURL string) []string {
		return append(w.suite.environment(postgres.through(postgresURL), redis.through(redisURL), w.WorkerApple.through(appleURL), w.apple.clock()),
			w.scenario.Settings...)
	}
	w.workerEnv = env(w.WorkerPostgres, w.WorkerRedis, redisURL)
	w.feederEnv = env(w.SchedulerPostgres, w.SchedulerRedis, feederURL.String())
	return nil
}

func (w *World) defers(f func() error) { w.closers = append(w.closers, f) }

// close kills what still runs and takes everything down, last things first.
func (w *World) close() error {
	var errs []error
	for _, p := range w.everything {
		errs = append(errs, p.Kill())
	}
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	return errors.Join(errs...)
}
