package repository

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/database"
)

// AddApp adds an app. Its errors are ErrConflict where the bundle id is there
// already, and Postgres's own.
func (db *DB) AddApp(ctx context.Context, app apps.App) error {
	const query = `
		INSERT INTO apps (bundle_id, name, rate_per_second, burst, source, grace_days, resubscribe_days, sweep_days, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	_, err := db.db.ExecContext(ctx, query, app.BundleID, app.Name, app.RatePerSecond, app.Burst, app.SourceOrDefault(),
		app.GraceDays, app.ResubscribeDays, app.SweepDays, app.CreatedAt)
	if err != nil {
		return fmt.Errorf("add app %s: %w", app.BundleID, named(err))
	}
	return nil
}

// appColumns are the columns of an apps.App, for a statement that names the
// table apps.
const appColumns = `apps.bundle_id, apps.name, apps.rate_per_second, apps.burst, apps.source,
	apps.grace_days, apps.resubscribe_days, apps.sweep_days, apps.paused_at, apps.paused_code, apps.paused_text,
	CASE WHEN apps.quarantine_resumed_at IS NULL THEN apps.quarantine_stopped_at END AS quarantine_stopped_at,
	CASE WHEN apps.quarantine_resumed_at IS NULL THEN apps.quarantine_stopped_for END AS quarantine_stopped_for,
	apps.created_at`

// Apps lists every app by bundle id.
func (db *DB) Apps(ctx context.Context) ([]apps.App, error) {
	const query = `SELECT ` + appColumns + ` FROM apps ORDER BY bundle_id`
	var apps []apps.App
	if err := db.db.SelectContext(ctx, &apps, query); err != nil {
		return nil, fmt.Errorf("list apps: %w", err)
	}
	return apps, nil
}

// RemoveApp removes an app and its shared secrets. Its error is ErrNotFound where there
// is none, and ErrConflict while it has receipts, or a subscription or purchase is left.
func (db *DB) RemoveApp(ctx context.Context, bundleID string) error {
	const query = `
		DELETE FROM apps a WHERE bundle_id = $1
		AND NOT EXISTS (SELECT 1 FROM receipts WHERE bundle_id = a.bundle_id)
		AND NOT EXISTS (SELECT 1 FROM subscriptions WHERE bundle_id = a.bundle_id)
		AND NOT EXISTS (SELECT 1 FROM purchases WHERE bundle_id = a.bundle_id)`
	removed, err := db.changed(ctx, fmt.Sprintf("remove app %s", bundleID), query, bundleID)
	if err == nil && !removed {
		err = fmt.Errorf("remove app %s: %w", bundleID, database.ErrConflict)
	}
	return err
}

// PauseApp stops all work on an app and says why by a code. An app that is paused already
// keeps its first reason; changed says whether this call paused it.
func (db *DB) PauseApp(ctx context.Context, bundleID, code string, at time.Time) (changed bool, err error) {
	const query = `
		UPDATE apps SET paused_at = $2, paused_code = $3
		WHERE bundle_id = $1 AND paused_at IS NULL`
	return db.changed(ctx, fmt.Sprintf("pause app %s", bundleID), query, bundleID, at, code)
}

// ResumeApp puts a paused app back to work; changed says whether it was paused.
func (db *DB) ResumeApp(ctx context.Context, bundleID string) (changed bool, err error) {
	const query = `
		UPDATE apps SET paused_at = NULL, paused_code = NULL, paused_text = NULL
		WHERE bundle_id = $1 AND paused_at IS NOT NULL`
	return db.changed(ctx, fmt.Sprintf("resume app %s", bundleID), query, bundleID)
}

// changed runs a statement and reports whether it changed a row.
func (db *DB) changed(ctx context.Context, act, query string, args ...any) (bool, error) {
	result, err := db.db.ExecContext(ctx, query, args...)
	if err != nil {
		return false, fmt.Errorf("%s: %w", act, named(err))
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("%s: %w", act, err)
	}
	return rows > 0, nil
}
