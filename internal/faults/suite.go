package faults

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/lib/pq" // the harness and the judge read Postgres by themselves
	"golang.org/x/sync/errgroup"

	"revalidator/internal/applesim"
	"revalidator/internal/devstack"
	"revalidator/internal/judge"
)

// Suite is what the scenarios share: the built program, a Postgres, and in it
// an installation that has asked about every receipt once.
type Suite struct {
	cfg      SuiteConfig
	folder   string
	binary   string
	postgres *devstack.Postgres
	redis    *devstack.Redis // of the first night
	admin    *sql.DB         // to the maintenance database, as a superuser
	keyset   string
	start    time.Time
	copying  sync.Mutex // of the first night: one at a time
}

// SuiteConfig says how a suite is prepared.
type SuiteConfig struct {
	// Receipts is the number of customers with one receipt each.
	Receipts int
	// Binary is a program to attack in place of this module's.
	Binary string
	// Back is how long ago the first night is; 0 is 30 days. LogSize is how many
	// requests the App Store remembers; 0 is 50 for each receipt.
	Back    time.Duration
	LogSize int
	// Folder gets the logs of the programs; empty is a temporary folder, which
	// Close removes.
	Folder string
	// Say tells of progress.
	Say func(format string, args ...any)
	// Logger is told by the servers.
	Logger *slog.Logger
}

const (
	// away is the simulated time between the first night and the one that is
	// attacked, in which much changes.
	away     = 30 * 24 * time.Hour
	learned  = "learned" // the database after the first night
	role     = "revalidator"
	simSeed  = 21
	rolePass = "of a throw-away server"
)

// NewSuite builds the program, starts Postgres and does the first night. Close
// ends it.
func NewSuite(ctx context.Context, cfg SuiteConfig) (s *Suite, err error) {
	s = &Suite{cfg: cfg, folder: cfg.Folder, start: time.Now().Add(-cmp.Or(cfg.Back, away)).UTC().Truncate(time.Second)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if s.folder == "" {
		if s.folder, err = os.MkdirTemp("", "revalidator-faults-"); err != nil {
			return s, err
		}
	} else if err := os.MkdirAll(s.folder, 0o755); err != nil {
		return s, err
	}
	cfg.Say("building the program, starting Postgres")
	if err := s.build(ctx); err != nil {
		return s, err
	}
	if err := s.startPostgres(ctx); err != nil {
		return s, err
	}
	cfg.Say("first night: %d receipts, no faults", cfg.Receipts)
	return s, s.learn(ctx)
}

// RunAll runs scenarios, some of them side by side, and returns their results in
// the order of the scenarios. Each is told as it ends. An error of the harness
// ends them all.
func (s *Suite) RunAll(ctx context.Context, scenarios []Scenario, parallel int, each func(Result)) ([]Result, error) {
	results := make([]Result, len(scenarios))
	var telling sync.Mutex
	run := func(ctx context.Context, i int) error {
		r, err := s.Run(ctx, scenarios[i])
		telling.Lock()
		defer telling.Unlock()
		if results[i] = r; err == nil {
			each(r)
		}
		return err
	}
	beside, ctxBeside := errgroup.WithContext(ctx)
	beside.SetLimit(parallel)
	for i := range scenarios {
		if !scenarios[i].Alone {
			beside.Go(func() error { return run(ctxBeside, i) })
		}
	}
	if err := beside.Wait(); err != nil {
		return nil, err
	}
	for i := range scenarios {
		if scenarios[i].Alone {
			if err := run(ctx, i); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// Close ends what NewSuite started.
func (s *Suite) Close() error {
	var errs []error
	if s.redis != nil {
		errs = append(errs, s.redis.Stop())
	}
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop())
	}
	if s.cfg.Folder == "" {
		errs = append(errs, os.RemoveAll(s.folder))
	}
	return errors.Join(errs...)
}

func (s *Suite) build(ctx context.Context) error {
	if s.binary = s.cfg.Binary; s.binary == "" {
		s.binary = filepath.Join(s.folder, "revalidator")
		output, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "revalidator/cmd/revalidator").CombinedOutput()
		if err != nil {
			return fmt.Errorf("build the program: %w\n%s", err, output)
		}
	}
	keyset, err := exec.CommandContext(ctx, s.binary, "keys", "generate").Output()
	if err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	s.keyset = strings.TrimSpace(string(keyset))
	return nil
}

// startPostgres starts a server that keeps what it has committed, and makes the
// role of the program, which is no superuser.
func (s *Suite) startPostgres(ctx context.Context) (err error) {
	if s.postgres, err = devstack.StartPostgres(ctx, devstack.Config{Durable: true, Logger: s.cfg.Logger}); err != nil {
		return err
	}
	if s.admin, err = sql.Open("postgres", s.postgres.URL); err != nil {
		return err
	}
	for _, statement := range []string{
		`CREATE ROLE ` + role + ` LOGIN PASSWORD '` + rolePass + `'`,
		`CREATE DATABASE ` + learned + ` OWNER ` + role,
	} {
		if _, err := s.admin.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("prepare Postgres: %w", err)
		}
	}
	return nil
}

// databaseURL leads to a database, as the role of the program or as a superuser.
func (s *Suite) databaseURL(name string, superuser bool) string {
	u, err := url.Parse(s.postgres.URL)
	if err != nil {
		panic(err) // devstack made it
	}
	u.Path = "/" + name
	if !superuser {
		u.User = url.UserPassword(role, rolePass)
	}
	return u.String()
}

// newAppStore is the same App Store each time, at the time of the first night.
func (s *Suite) newAppStore() (*applesim.Server, error) {
	return applesim.New(applesim.Config{
		Seed: simSeed, Customers: s.cfg.Receipts, Start: s.start,
		LatestReceipt: applesim.LatestEcho, // signing each reply anew takes a millisecond
		LogSize:       cmp.Or(s.cfg.LogSize, 50*s.cfg.Receipts),
	})
}

// learn installs the program, imports the receipts and asks about each.
func (s *Suite) learn(ctx context.Context) (err error) {
	if s.redis, err = devstack.StartRedis(ctx, devstack.Config{Logger: s.cfg.Logger}); err != nil {
		return err
	}
	sim, err := s.newAppStore()
	if err != nil {
		return err
	}
	apple, err := serveAppStore(sim)
	if err != nil {
		return err
	}
	defer apple.close()
	env := s.environment(s.databaseURL(learned, false), s.redis.URL, apple.url)
	if err := s.install(ctx, sim, env); err != nil {
		return err
	}
	db, err := sql.Open("postgres", s.databaseURL(learned, true))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nobody may be connected to a template
	j := judge.New(db, sim)
	if err := j.Watch(ctx); err != nil {
		return err
	}
	if err := s.command(ctx, env, "run", "--worker", "--quiet"); err != nil {
		return err
	}
	differences, err := j.Differences(ctx)
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("the first night, without faults, did not end in the truth: %s", differences[0])
	}
	return err
}

// install does what a person does first, command by command.
func (s *Suite) install(ctx context.Context, sim *applesim.Server, env []string) error {
	if err := s.command(ctx, env, "migrate"); err != nil {
		return err
	}
	for _, app := range applesim.DefaultApps(simSeed) {
		file := filepath.Join(s.folder, app.BundleID+".secret")
		if err := os.WriteFile(file, []byte(app.Secrets[0]+"\n"), 0o600); err != nil {
			return err
		}
		if err := s.command(ctx, env, "apps", "add", app.BundleID, "--rate", "2000", "--burst", "100"); err != nil {
			return err
		}
		if err := s.command(ctx, env, "secrets", "add", "--app", app.BundleID, "--file", file); err != nil {
			return err
		}
	}
	name := filepath.Join(s.folder, "receipts.ndjson")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(sim.WriteReceipts(file, ""), file.Close()); err != nil {
		return err
	}
	return errors.Join(s.command(ctx, env, "import", name), os.Remove(name))
}

// command runs a command of the program to its end.
func (s *Suite) command(ctx context.Context, env []string, args ...string) error {
	c := exec.CommandContext(ctx, s.binary, args...)
	c.Env = env
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("revalidator %s: %w\n%s", args[0], err, output)
	}
	return nil
}

// lease is how long a claim holds in the scenarios: as short as the settings
// allow, so that recovery is seen in seconds.
const (
	lease        = 8 * time.Second
	stopDeadline = 5 * time.Second
)

// environment is all that the programs see: the suite's settings and none of
// whoever started it.
func (s *Suite) environment(databaseURL, redisURL, appleURL string) []string {
	slot := time.Now().UTC().Add(-time.Hour)
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.folder, "TMPDIR=" + os.TempDir(),
		"DATABASE_URL=" + databaseURL,
		"REDIS_URL=" + redisURL,
		"REVALIDATOR_KEYS=" + s.keyset,
		"REVALIDATOR_APPLE_PRODUCTION_URL=" + appleURL + "/production/verifyReceipt",
		"REVALIDATOR_APPLE_SANDBOX_URL=" + appleURL + "/sandbox/verifyReceipt",
		"REVALIDATOR_LOG_LEVEL=debug",
		// The slot of an hour ago was missed: it is caught up at once, and once.
		fmt.Sprintf("REVALIDATOR_SCHEDULE=%d %d * * *", slot.Minute(), slot.Hour()),
		"REVALIDATOR_APPLE_TIMEOUT=2s",
		"REVALIDATOR_QUEUE_AHEAD=1s",
		"REVALIDATOR_LIMITER_WAIT=1s",
		"REVALIDATOR_CLAIM_LEASE=" + lease.String(),
		"REVALIDATOR_OWNER_LEASE=2s",
		"REVALIDATOR_RETRY_BASE=1s",
		"REVALIDATOR_RETRY_MAX=4s",
		"REVALIDATOR_RETRY_LIMIT=1000", // no receipt leaves the run
		"REVALIDATOR_SHUTDOWN_TIMEOUT=" + stopDeadline.String(),
		"REVALIDATOR_MAX_REPLY_BYTES=1048576",
	}
}
