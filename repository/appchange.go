package repository

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/apps"
)

// AppChange is what to change of an app; nil leaves a field as it is. A pointer
// to nil leaves it to the policy for all apps.
type AppChange struct {
	Name                                  *string
	RatePerSecond                         *float64
	Burst                                 *int
	GraceDays, ResubscribeDays, SweepDays **int
}

// ChangeApp changes an app and returns it as it is then. Its error is
// ErrNotFound where there is no such app.
func (db *DB) ChangeApp(ctx context.Context, bundleID string, change AppChange) (apps.App, error) {
	const query = `
		UPDATE apps
		SET name = coalesce($2, name), rate_per_second = coalesce($3, rate_per_second), burst = coalesce($4, burst),
		    grace_days = CASE WHEN $5 THEN $6 ELSE grace_days END,
		    resubscribe_days = CASE WHEN $7 THEN $8 ELSE resubscribe_days END,
		    sweep_days = CASE WHEN $9 THEN $10 ELSE sweep_days END
		WHERE bundle_id = $1
		RETURNING ` + appColumns
	args := []any{change.Name, change.RatePerSecond, change.Burst}
	for _, days := range []**int{change.GraceDays, change.ResubscribeDays, change.SweepDays} {
		var value *int
		if days != nil {
			value = *days
		}
		args = append(args, days != nil, value)
	}
	return db.oneApp(ctx, "change app", query, bundleID, args...)
}

// HoldApp pauses an app for a person, and returns it. Where it is paused
// already the new reason takes the place of the old one, so that a pause of the
// program's own does not end by itself any more. Its error is ErrNotFound where
// there is no such app.
func (db *DB) HoldApp(ctx context.Context, bundleID, reason string, at time.Time) (apps.App, error) {
	const query = `
		UPDATE apps SET paused_at = coalesce(paused_at, $2), paused_code = $4, paused_text = $3
		WHERE bundle_id = $1
		RETURNING ` + appColumns
	return db.oneApp(ctx, "pause app", query, bundleID, at, reason, apps.PausedByPerson)
}

// App is one app, or ErrNotFound.
func (db *DB) App(ctx context.Context, bundleID string) (apps.App, error) {
	const query = `SELECT ` + appColumns + ` FROM apps WHERE bundle_id = $1`
	return db.oneApp(ctx, "read app", query, bundleID)
}

func (db *DB) oneApp(ctx context.Context, act, query, bundleID string, args ...any) (apps.App, error) {
	var app apps.App
	if err := db.db.GetContext(ctx, &app, query, append([]any{bundleID}, args...)...); err != nil {
		return apps.App{}, fmt.Errorf("%s %s: %w", act, bundleID, named(err))
	}
	return app, nil
}
