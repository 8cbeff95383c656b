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

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack"
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
	receipts int        // that were imported
	copying  sync.Mutex // of the first night: one at a time
}

// SuiteConfig says how a suite is prepared.
type SuiteConfig struct {
	// Receipts is about how many there are. Some customers have several.
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
	// Say describes progress.
	Say func(format string, args ...any)
	// Logger is told by the servers.
	Logger *slog.Logger
}

const (
	// away is the simulated time between the first night and the one that is
	// attacked, in which much changes.
	away = 30 * 24 * time.Hour
	// connections are enough for the workers of several scenarios side by side.
	connections = 1000
	learned     = "learned" // the database after the first night
	role        = "revalidator"
	simSeed     = 21
	rolePass    = "of a throw-away server"
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
	cfg.Say("first night: some %d receipts, no faults", cfg.Receipts)
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
	if s.postgres, err = devstack.StartPostgres(ctx, devstack.Config{Durable: true, MaxConnections: connections, Logger: s.cfg.Logger}); err != nil {
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

// newAppStore is the same App Store each time, at the time of the first night,
// but for what is changed.
func (s *Suite) newAppStore(change func(*applesim.Config)) (*applesim.Server, error) {
	mix := applesim.DefaultMix()
	mix.Several, mix.OldStyle, mix.OfferCode = 0.02, 0.02, 0.1
	mix.Acts = append(mix.Acts, applesim.Weight{Act: applesim.ActRefundAhead, Weight: 4},
		applesim.Weight{Act: applesim.ActRefundReversed, Weight: 3})
	cfg := applesim.Config{
		Seed: simSeed, Customers: s.cfg.Receipts * 100 / 106, Receipts: 3, Start: s.start,
		LatestReceipt: applesim.LatestEcho, // signing each reply again takes a millisecond
		LogSize:       cmp.Or(s.cfg.LogSize, 50*s.cfg.Receipts),
		Mix:           &mix,
	}
	if change != nil {
		change(&cfg)
	}
	return applesim.New(cfg)
}
