package repository

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int64
	Name    string
}

// Migrate brings the schema to the newest version that this program knows and
// returns the steps that it took. Several programs may call it at once. A database
// that is not UTF8 is left as it is.
func (db *DB) Migrate(ctx context.Context) ([]Migration, error) {
	server, err := db.Server(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	if err := server.CheckEncoding(); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	provider, err := db.migrations()
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, advised(fmt.Errorf("migrate: %w", err))
	}
	var steps []Migration
	for _, r := range results {
		steps = append(steps, Migration{Version: r.Source.Version, Name: r.Source.Path})
	}
	return steps, nil
}

// SchemaVersion is the version of the schema in the database (0 for an empty
// one) and the newest that this program knows. It changes nothing.
func (db *DB) SchemaVersion(ctx context.Context) (current, known int64, err error) {
	provider, err := db.migrations()
	if err != nil {
		return 0, 0, err
	}
	// The library would create its table, and this may be somebody else's
	// database.
	var exists bool
	if err := db.db.GetContext(ctx, &exists, `SELECT to_regclass('goose_db_version') IS NOT NULL`); err != nil {
		return 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	if !exists {
		sources := provider.ListSources()
		return 0, sources[len(sources)-1].Version, nil
	}
	current, known, err = provider.GetVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read schema version: %w", err)
	}
	return current, known, nil
}

func (db *DB) migrations() (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	// A lock in a table, not of the session, so that it holds behind a
	// transaction-pooling proxy too.
	locker, err := lock.NewPostgresTableLocker()
	if err != nil {
		return nil, fmt.Errorf("lock migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db.db.DB.DB, files, goose.WithLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return provider, nil
}
