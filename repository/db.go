// Package repository keeps everything that must outlive a process: apps,
// secrets, receipts, subscriptions, events and runs, in Postgres. It holds all
// SQL of the program and its migrations, and leaves every decision about what
// is due and what a reply means to its callers.
//
// Every statement works behind a transaction-pooling proxy: there is no session
// state, no session lock and no prepared statement that outlives its query.
package repository

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"revalidator/internal/database"
	"revalidator/internal/quarantine"
	"revalidator/internal/secret"
)

// DB is the database. It is safe for concurrent use.
type DB struct {
	db  statements
	url secret.Value // for connections of another kind than those of db
	// bytes is for the bytes of receipts: in inBinary only.
	bytes *sqlx.DB

	unusual           quarantine.Unusual
	quarantineChanged func(quarantine.Change)
}

// Config says which database to open.
type Config struct {
	// URL is postgres://user:password@host/database or lib/pq's key=value form.
	URL secret.Value
	// MaxConns is the most connections at a time, in all but the one of
	// ListenForEvents, at least 2; 0 means 24.
	MaxConns int
	// ApplicationName shows in pg_stat_activity.
	ApplicationName string
	// Patience is how long Postgres may be silent over one statement until the
	// connection is given up; 0 means an hour.
	Patience time.Duration
	// Unusual is from when on an app's quarantining is stopped; see
	// quarantine.DefaultUnusual.
	Unusual quarantine.Unusual
	// QuarantineChanged is called after an app's quarantining was stopped, or
	// resumed by itself, in the one of all processes that did it. Nil is nobody.
	QuarantineChanged func(quarantine.Change)
}

const (
	defaultMaxConns = 24
	// maxConnAge lets connections move to a new primary or proxy in time.
	maxConnAge     = 30 * time.Minute
	connectTimeout = 10 * time.Second
)

// Open prepares a pool of connections without making one, so that a database
// that is still starting is the first query's error and not this one's.
func Open(cfg Config) (*DB, error) {
	parsed, err := pq.NewConfig(cfg.URL.Reveal())
	if err != nil {
		return nil, unreadableURL()
	}
	parsed.BinaryParameters = true // one round trip, and safe behind a proxy
	parsed.TZ = "UTC"
	if parsed.ConnectTimeout == 0 {
		parsed.ConnectTimeout = connectTimeout
	}
	if cfg.ApplicationName != "" {
		parsed.ApplicationName = cfg.ApplicationName
	}
	conns := max(cmp.Or(cfg.MaxConns, defaultMaxConns), 2)
	binary := max(conns/3, 1)
	patience := cmp.Or(cfg.Patience, defaultPatience)
	db, err := pool(parsed, conns-binary, patience)
	if err != nil {
		return nil, fmt.Errorf("database URL: %v", err)
	}
	parsed.BinaryParameters = false
	bytes, err := pool(parsed, binary, patience)
	if err != nil {
		return nil, fmt.Errorf("database URL: %v", err)
	}
	changed := cfg.QuarantineChanged
	if changed == nil {
		changed = func(quarantine.Change) {}
	}
	return &DB{db: statements{db}, url: cfg.URL, bytes: bytes, unusual: unusualOr(cfg.Unusual), quarantineChanged: changed}, nil
}

func pool(cfg pq.Config, conns int, patience time.Duration) (*sqlx.DB, error) {
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, err
	}
	connector.Dialer(patientDialer{patience})
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	// database/sql keeps two idle connections unless told; closing and opening
	// the others for each query costs more than the queries.
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(maxConnAge)
	return db, nil
}

// dropIdle closes the connections that nobody uses now, so that the next ones are
// made anew.
func (db *DB) dropIdle() {
	for _, pool := range []*sqlx.DB{db.db.DB, db.bytes} {
		most := pool.Stats().MaxOpenConnections
		pool.SetMaxIdleConns(0)
		pool.SetMaxIdleConns(most)
	}
}

// Close closes every connection.
func (db *DB) Close() error { return errors.Join(db.db.Close(), db.bytes.Close()) }

// Ping reports whether Postgres answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.db.PingContext(ctx); err != nil {
		return advised(fmt.Errorf("reach postgres: %w", err))
	}
	return nil
}

// inTx runs f in a transaction, which is undone where f fails or panics, and
// run again where that helps; see retried.
func (db *DB) inTx(ctx context.Context, f func(*sqlx.Tx) error) error {
	return retried(func() error { return tryTx(ctx, db.db.DB, f) })
}

// inBinary is inTx, in which results come in binary: bytea in hex would be twice
// as long, and cost both sides its coding. lib/pq does so only where it describes a
// statement first, which behind a proxy must happen in the transaction that
// executes it.
func (db *DB) inBinary(ctx context.Context, f func(*sqlx.Tx) error) error {
	return retried(func() error { return tryTx(ctx, db.bytes, f) })
}

func tryTx(ctx context.Context, db *sqlx.DB, f func(*sqlx.Tx) error) (err error) {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, fmt.Errorf("roll back: %w", undo))
		}
	}()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	return nil
}

// named turns what Postgres says into the errors of package database.
func named(err error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return database.ErrNotFound
	case pq.As(err, pqerror.UniqueViolation) != nil:
		return database.ErrConflict
	case pq.As(err, pqerror.ForeignKeyViolation) != nil:
		return database.ErrNotFound
	}
	return err
}
