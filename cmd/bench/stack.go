package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack"
)

// stack is a Postgres and a Redis of their own for one part of the benchmark,
// with the tables, the app and its secret in place.
type stack struct {
	b     *bench
	url   string // of the database
	env   []string
	db    *sqlx.DB
	redis *redis.Client
	close func() error
}

// memory is what a Postgres on a small server of its own is given, in place of
// the 128 MB that it takes unless told.
var memory = []string{"shared_buffers=1GB", "max_wal_size=4GB"}

// newStack starts one. durable has each commit reach the disk, as in
// production.
func (b *bench) newStack(ctx context.Context, durable bool, settings ...string) (*stack, error) {
	cfg := devstack.Config{Durable: durable, Settings: memory, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	postgres, err := devstack.StartPostgres(ctx, cfg)
	if err != nil {
		return nil, err
	}
	server, err := devstack.StartRedis(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, postgres.Stop())
	}
	s := &stack{b: b}
	s.close = func() error {
		if s.db != nil {
			_ = s.db.Close()
		}
		if s.redis != nil {
			_ = s.redis.Close()
		}
		return errors.Join(postgres.Stop(), server.Stop())
	}
	if err := s.prepare(ctx, postgres.URL, server, settings); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// plenty is a rate of calls that nothing here reaches.
const plenty = "1000000"

func (s *stack) prepare(ctx context.Context, url string, server *devstack.Redis, settings []string) (err error) {
	if server.Simulated {
		return errors.New("needs a redis-server: apt-get install redis-server")
	}
	options, err := redis.ParseURL(server.URL)
	if err != nil {
		return err
	}
	s.url = url
	s.redis = redis.NewClient(options)
	if s.db, err = sqlx.Open("postgres", url); err != nil {
		return err
	}
	s.env = append([]string{
		"DATABASE_URL=" + url, "REDIS_URL=" + server.URL, "REVALIDATOR_LOG_LEVEL=warn", "REVALIDATOR_RETENTION=0",
		"REVALIDATOR_CLOCK_TOLERANCE=24h", // replies are of one time, however long it is measured
	}, settings...)
	keys, err := s.b.output(ctx, s.env, "revalidator", "keys", "generate")
	if err != nil {
		return err
	}
	s.env = append(s.env, "REVALIDATOR_KEYS="+strings.TrimSpace(string(keys)))
	secret := filepath.Join(s.b.folder, "secret")
	if err := os.WriteFile(secret, []byte(appSecret+"\n"), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"migrate", "--quiet"},
		{"apps", "add", appID, "--rate", plenty, "--burst", plenty, "--quiet"},
		{"secrets", "add", "--app", appID, "--file", secret, "--quiet"},
	} {
		if _, err := s.b.output(ctx, s.env, "revalidator", args...); err != nil {
			return err
		}
	}
	return nil
}

// setting adds a setting of the program.
func (s *stack) setting(name, value string) { s.env = append(s.env, name+"="+value) }

// appStore starts an App Store that the program and the baseline ask.
func (s *stack) appStore(ctx context.Context, args ...string) (*process, string, error) {
	p, err := s.b.start(ctx, nil, roleAppStore, args...)
	if err != nil {
		return nil, "", err
	}
	url, err := p.line()
	if err != nil {
		p.stop()
		return nil, "", fmt.Errorf("start the App Store: %w", err)
	}
	s.setting("REVALIDATOR_APPLE_PRODUCTION_URL", url)
	s.setting("REVALIDATOR_APPLE_SANDBOX_URL", url)
	return p, url, nil
}

// fill stores receipts of a size that are due, oldest first. They are not real:
// nobody here reads them, and their ends differ.
func (s *stack) fill(ctx context.Context, n, size int) error {
	const receipts = `
		INSERT INTO receipts (bundle_id, customer_ref, kind, environment, sha256, byte_size, next_check_at, next_check_rule, created_at)
		SELECT $1, 'customer-' || i, 'app_receipt', 'Production', sha256(i::text::bytea), $3,
		       now() - interval '1 hour' + i * interval '1 ms', 'new', now()
		FROM generate_series(1, $2::int) i`
	const data = `
		INSERT INTO receipt_data (receipt_id, data)
		SELECT id, substring($1::bytea FROM 1 FOR byte_size - 32) || sha256 FROM receipts`
	if _, err := s.db.ExecContext(ctx, receipts, appID, n, size); err != nil {
		return err
	}
	return s.execAll(ctx, []any{noise(size)}, data, `VACUUM ANALYZE`)
}

// fillBaseline copies the receipts for the baseline.
func (s *stack) fillBaseline(ctx context.Context, n int) error {
	const data = `
		INSERT INTO baseline_receipts (id, data, next_check_at)
		SELECT id, data, next_check_at FROM receipts JOIN receipt_data ON receipt_id = id WHERE id <= $1`
	if _, err := s.db.ExecContext(ctx, baselineSchema); err != nil {
		return err
	}
	return s.execAll(ctx, []any{n}, data, `CREATE INDEX ON baseline_receipts (next_check_at)`, `VACUUM ANALYZE baseline_receipts`)
}

// execAll executes statements, the first of them with arguments, and has what
// they wrote on the disk before anything is measured.
func (s *stack) execAll(ctx context.Context, args []any, statements ...string) error {
	for _, statement := range append(statements, `CHECKPOINT`) {
		if _, err := s.db.ExecContext(ctx, statement, args...); err != nil {
			return err
		}
		args = nil
	}
	return nil
}

// noise is bytes that do not compress, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
