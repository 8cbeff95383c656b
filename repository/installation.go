package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Installation is which database this is. Its id is made of one that is stored in
// it and of what tells servers and databases apart, so that a database that was
// restored from a dump, or copied by CREATE DATABASE, is another installation than
// the one that it was copied from.
//
// Not every role may read the identifier of the server; all roles that the program
// uses for one database must be alike in that.
func (db *DB) Installation(ctx context.Context) (Installation, error) {
	const query = `
		SELECT i.id::text, d.oid::bigint AS oid, d.datname AS name,
		       coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a socket') AS address,
		       pg_postmaster_start_time() AS started_at,
		       has_function_privilege('pg_control_system()', 'EXECUTE') AS identified
		FROM installation i, pg_database d WHERE d.datname = current_database()`
	const identifier = `SELECT system_identifier::text FROM pg_control_system()`
	var row struct {
		ID         string    `db:"id"`
		OID        int64     `db:"oid"`
		Name       string    `db:"name"`
		Address    string    `db:"address"`
		StartedAt  time.Time `db:"started_at"`
		Identified bool      `db:"identified"`
	}
	if err := db.db.GetContext(ctx, &row, query); err != nil {
		return Installation{}, fmt.Errorf("read installation: %w", named(err))
	}
	var server string
	if row.Identified {
		if err := db.db.GetContext(ctx, &server, identifier); err != nil {
			return Installation{}, fmt.Errorf("read installation: %w", err)
		}
	}
	return Installation{
		ID: installationID(row.ID, server, row.OID), Database: fmt.Sprintf("%s at %s", row.Name, row.Address),
		Address: row.Address, StartedAt: row.StartedAt.UTC(),
	}, nil
}

// installationID is short enough for a part of each task's id.
func installationID(id, server string, oid int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", id, server, oid))
	return hex.EncodeToString(sum[:6])
}

// Installation is a database of this program, and the server that it is on.
type Installation struct {
	// ID is another for each copy of the database that Postgres restored or copied. A
	// copy of a whole server, such as a standby, shares it.
	ID string
	// Database is its name and where it was reached, for people.
	Database string
	// Address and StartedAt are of the server: a copy of it has others.
	Address   string
	StartedAt time.Time
}
