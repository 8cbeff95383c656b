package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/clock"
	"revalidator/internal/config"
	"revalidator/internal/keyring"
	"revalidator/internal/quarantine"
	"revalidator/internal/report"
	"revalidator/internal/stores"
	"revalidator/internal/terminal"
	"revalidator/jobs"
	"revalidator/repository"
)

// parts are the opened parts of the program. Each command opens what it needs
// and closes it with close.
type parts struct {
	cfg   config.Config
	log   *slog.Logger
	db    *repository.DB
	redis redis.UniversalClient
	keys  *keyring.Ring
	// installation is of db, nil until it is read.
	installation atomic.Pointer[repository.Installation]
	// clock is of db and of the App Store.
	clock clock.Pair
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
		Unusual:           quarantine.Unusual{Receipts: s.cfg.Quarantine.StopReceipts, Share: float64(s.cfg.Quarantine.StopPercent) / 100},
		QuarantineChanged: s.logQuarantine,
	})
	if err != nil {
		return err
	}
	s.db = db
	s.clock, err = clock.NewPair(db.Time, s.cfg.Apple.ClockURL, s.log)
	return err
}

// logQuarantine logs that the quarantining of an app was stopped or resumed.
func (s *parts) logQuarantine(c quarantine.Change) {
	log := s.log.With("bundle_id", c.BundleID, "class", c.Class, "receipts", c.Accused, "checked", c.Checked)
	if c.Stopped {
		log.Error("quarantining stopped: too many good receipts have the same failure within a day; see 'revalidator doctor'")
		return
	}
	log.Info("quarantining resumed: nothing was unusual for a day")
}

func (s *parts) reachDatabase(ctx context.Context) error {
	return stores.Reach(ctx, "DATABASE_URL", s.db.Ping)
}

// errNewerSchema is a schema that waiting does not fix.
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
	client, err := stores.OpenRedis(s.cfg.Redis, s.log)
	if err != nil {
		return terminal.Usage(fmt.Errorf("REDIS_URL: %w", err))
	}
	s.redis = client
	return nil
}

func (s *parts) reachRedis(ctx context.Context) error {
	err := stores.Reach(ctx, "REDIS_URL", s.pingRedis)
	if errors.Is(err, stores.ErrNoAnswer) && strings.HasPrefix(s.cfg.Redis.URL.Reveal(), "rediss:") {
		// A Redis waits for the end of a line that the greeting of TLS does not have.
		return fmt.Errorf("%w A port that does not speak TLS is silent, too: it wants redis:// in the place of rediss://", err)
	}
	return err
}

func (s *parts) pingRedis(ctx context.Context) error {
	return jobs.Reach(ctx, s.redis)
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
