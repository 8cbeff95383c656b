package repository

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/runs"
)

// Due looks at what is due at a time and not claimed: of the enabled apps, or of
// the paused ones.
func (db *DB) Due(ctx context.Context, now time.Time, paused bool) (Due, error) {
	const query = `
		WITH chosen AS (SELECT bundle_id FROM apps WHERE (paused_at IS NOT NULL) = $2)
		SELECT
			(SELECT count(*) FROM (
				SELECT FROM chosen CROSS JOIN LATERAL (
					SELECT FROM receipts r
					WHERE r.bundle_id = chosen.bundle_id AND claimed_until IS NULL AND next_check_at <= $1
					LIMIT $3) d
				LIMIT $3) l) AS receipts,
			(SELECT min(d.next_check_at) FROM chosen CROSS JOIN LATERAL (
				SELECT next_check_at FROM receipts r
				WHERE r.bundle_id = chosen.bundle_id AND claimed_until IS NULL AND next_check_at <= $1
				ORDER BY next_check_at LIMIT 1) d) AS oldest`
	var d Due
	if err := db.db.GetContext(ctx, &d, query, now, paused, countLimit+1); err != nil {
		return Due{}, fmt.Errorf("count what is due: %w", err)
	}
	if d.Receipts > countLimit {
		d.Receipts, d.More = countLimit, true
	}
	return d, nil
}

// RunWaiting looks at what a run has and no worker has claimed: it waits for a retry,
// or to be claimed again. The index receipts_run holds it, in the order of its times.
func (db *DB) RunWaiting(ctx context.Context, id int64) (Waiting, error) {
	const query = `
		SELECT count(*) AS receipts, min(next_check_at) AS next_at FROM (
			SELECT next_check_at FROM receipts WHERE run_id = $1 AND claimed_until IS NULL AND next_check_at IS NOT NULL
			ORDER BY next_check_at LIMIT $2) w`
	var w Waiting
	if err := db.db.GetContext(ctx, &w, query, id, countLimit+1); err != nil {
		return Waiting{}, fmt.Errorf("count what waits in run %d: %w", id, err)
	}
	if w.Receipts > countLimit {
		w.Receipts, w.More = countLimit, true
	}
	return w, nil
}

// RecentRuns lists the newest runs and every run that is running, newest first.
func (db *DB) RecentRuns(ctx context.Context, limit int) ([]runs.Totals, error) {
	const query = `
		SELECT ` + runTotalsColumns + ` FROM run_totals
		WHERE id IN (SELECT id FROM runs WHERE state = 'running'
		             UNION (SELECT id FROM runs ORDER BY id DESC LIMIT $1))
		ORDER BY id DESC`
	var runs []runs.Totals
	if err := db.db.SelectContext(ctx, &runs, query, limit); err != nil {
		return nil, fmt.Errorf("list recent runs: %w", err)
	}
	return runs, nil
}

// RunApps lists the apps of a run by bundle id.
func (db *DB) RunApps(ctx context.Context, id int64) ([]RunApp, error) {
	const query = `
		SELECT bundle_id, due, in_run, succeeded, failed, succeeded + failed AS done, released, changed, calls, paused_code, paused_text
		FROM run_apps LEFT JOIN apps USING (bundle_id)
		WHERE run_id = $1 ORDER BY bundle_id`
	var apps []RunApp
	if err := db.db.SelectContext(ctx, &apps, query, id); err != nil {
		return nil, fmt.Errorf("list apps of run %d: %w", id, err)
	}
	return apps, nil
}

// AppSecrets lists every app by bundle id with its newest secret, primary ones
// included and retired ones not.
func (db *DB) AppSecrets(ctx context.Context) ([]AppSecret, error) {
	const query = `
		SELECT a.bundle_id, max(s.created_at) FILTER (WHERE s.state <> 'retired') AS newest,
		       coalesce(bool_and(s.state = 'refused') FILTER (WHERE s.state <> 'retired'), false) AS refused,
		       coalesce(bool_or(s.last_accepted IS NOT NULL) FILTER (WHERE s.state = 'retired'), false)
		       AND NOT coalesce(bool_or(s.state = 'accepted'), false) AS unproven
		FROM apps a LEFT JOIN shared_secrets s ON s.bundle_id = a.bundle_id OR s.bundle_id IS NULL
		GROUP BY a.bundle_id ORDER BY a.bundle_id`
	var secrets []AppSecret
	if err := db.db.SelectContext(ctx, &secrets, query); err != nil {
		return nil, fmt.Errorf("read the secrets of apps: %w", err)
	}
	return secrets, nil
}

// StoredSecrets lists every secret that is not retired, by its id.
func (db *DB) StoredSecrets(ctx context.Context) ([]apps.SharedSecret, error) {
	const query = `
		SELECT id, coalesce(bundle_id, '') AS bundle_id, ciphertext, key_id, fingerprint, state,
		       created_at, last_accepted, last_refused
		FROM shared_secrets WHERE state <> 'retired' ORDER BY id`
	var secrets []apps.SharedSecret
	if err := db.db.SelectContext(ctx, &secrets, query); err != nil {
		return nil, fmt.Errorf("list stored secrets: %w", err)
	}
	return secrets, nil
}

// Server asks Postgres for its version, its clock and its encoding.
func (db *DB) Server(ctx context.Context) (Server, error) {
	const query = `
		SELECT current_setting('server_version_num')::int AS version,
		       split_part(current_setting('server_version'), ' ', 1) AS name, clock_timestamp() AS now,
		       current_database() AS database, current_setting('server_encoding') AS encoding`
	var s Server
	if err := db.db.GetContext(ctx, &s, query); err != nil {
		return Server{}, fmt.Errorf("ask postgres for its version: %w", err)
	}
	return s, nil
}

// Due is what is due and not claimed.
type Due struct {
	// Receipts is how many they are, up to 100,000; More says that there are
	// more than these.
	Receipts int64 `db:"receipts"`
	More     bool  `db:"-"`
	// Oldest is since when the oldest of all of them is due, nil where there is
	// none.
	Oldest *time.Time `db:"oldest"`
}

// AppSecret is how old the shared secrets of an app are.
type AppSecret struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	// Newest is when the newest secret that is good for the app was added, nil
	// where there is none.
	Newest *time.Time `db:"newest" json:"newest_added_at"`
	// Refused says that Apple refused all of them last. Unproven says that Apple has
	// accepted none of them, and did accept one that is retired.
	Refused  bool `db:"refused" json:"-"`
	Unproven bool `db:"unproven" json:"-"`
}

// Server is what Postgres says of itself.
type Server struct {
	// Version is a number such as 170002, and Name a text such as 17.2.
	Version int    `db:"version"`
	Name    string `db:"name"`
	// Now is the time by its clock.
	Now time.Time `db:"now"`
	// Database is the name of the database, and Encoding how it keeps texts.
	Database string `db:"database"`
	Encoding string `db:"encoding"`
}

// CheckEncoding fails unless the database takes texts of every language, which
// receipts and customer references are: any other would refuse some of them, each
// time again.
func (s Server) CheckEncoding() error {
	if s.Encoding == "UTF8" {
		return nil
	}
	return fmt.Errorf("database %s has the encoding %s, which does not have every character that Apple and customers use: "+
		"create one with 'createdb --template=template0 --encoding=UTF8 --locale=C NAME' and name it in DATABASE_URL", s.Database, s.Encoding)
}
