package pgtest

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
)

const (
	unfinishedSuffix = "_unfinished"
	// maxNameLength is where Postgres cuts a name off without an error.
	maxNameLength = 63
)

// template returns the name of the template database and makes it first where
// the server has none. The lock keeps test programs that run at the same time
// from making it twice; it belongs to the connection, so that a program that
// dies gives it back.
func (s server) template(ctx context.Context, name string, prepare func(context.Context, string) error) (string, error) {
	database := "template_" + name
	if len(database+unfinishedSuffix) > maxNameLength {
		return "", fmt.Errorf("its name has more than %d bytes", maxNameLength-len("template_"+unfinishedSuffix))
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	unlock, err := lock(ctx, conn, database)
	if err != nil {
		return "", err
	}
	defer unlock()
	var exists bool
	const query = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
	if err := conn.QueryRowContext(ctx, query, database).Scan(&exists); err != nil {
		return "", fmt.Errorf("look for it: %w", err)
	}
	if exists {
		return database, nil
	}
	return database, s.build(ctx, database, prepare)
}

// build gives the database its name last, so that one whose preparation failed
// or was killed is never taken for a template.
func (s server) build(ctx context.Context, database string, prepare func(context.Context, string) error) error {
	unfinished := database + unfinishedSuffix
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS %s WITH (FORCE)", unfinished); err != nil {
		return err
	}
	if err := s.exec(ctx, "CREATE DATABASE %s", unfinished); err != nil {
		return err
	}
	if err := prepare(ctx, s.url(unfinished)); err != nil {
		return err
	}
	// A database that somebody is connected to cannot be copied.
	if err := s.exec(ctx, "ALTER DATABASE %s WITH ALLOW_CONNECTIONS false", unfinished); err != nil {
		return err
	}
	return s.exec(ctx, "ALTER DATABASE %s RENAME TO %s", unfinished, database)
}

// lock waits for the lock of that name and returns what gives it back.
func lock(ctx context.Context, conn *sql.Conn, name string) (func(), error) {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	key := int64(hash.Sum64())
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, key); err != nil {
		return nil, fmt.Errorf("lock it: %w", err)
	}
	return func() {
		// Should this fail, the lock goes with the connection when the test ends.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, key)
	}, nil
}
