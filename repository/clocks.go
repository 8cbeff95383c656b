package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/clock"
	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// Time is the database's clock, which all processes share.
func (db *DB) Time(ctx context.Context) (time.Time, error) {
	const query = `SELECT clock_timestamp()`
	var now time.Time
	if err := db.db.GetContext(ctx, &now, query); err != nil {
		return time.Time{}, fmt.Errorf("ask postgres for the time: %w", err)
	}
	return now, nil
}

// endpointClockRow is a row of endpoint_clocks.
type endpointClockRow struct {
	Environment  iap.Environment `db:"environment"`
	Replies      []byte          `db:"replies"`
	HeldSince    *time.Time      `db:"held_since"`
	AheadSeconds float64         `db:"ahead_seconds"`
	NextProbeAt  *time.Time      `db:"next_probe_at"`
	Agreed       int             `db:"agreed"`
}

const endpointClockColumns = `environment, replies, held_since, ahead_seconds, next_probe_at, agreed`

func (row endpointClockRow) clock() (clock.Endpoint, error) {
	c := clock.Endpoint{
		Environment: row.Environment, HeldSince: row.HeldSince, Agreed: row.Agreed,
		Ahead: time.Duration(row.AheadSeconds * float64(time.Second)),
	}
	if row.NextProbeAt != nil {
		c.NextProbeAt = *row.NextProbeAt
	}
	return c, json.Unmarshal(row.Replies, &c.Replies)
}

// EndpointClocks lists the endpoints whose replies differ from the clock, by
// environment. Mostly there is none.
func (db *DB) EndpointClocks(ctx context.Context) ([]clock.Endpoint, error) {
	const query = `SELECT ` + endpointClockColumns + ` FROM endpoint_clocks ORDER BY environment`
	var rows []endpointClockRow
	if err := db.db.SelectContext(ctx, &rows, query); err != nil {
		return nil, fmt.Errorf("read the clocks of endpoints: %w", err)
	}
	clocks := make([]clock.Endpoint, len(rows))
	for i, row := range rows {
		var err error
		if clocks[i], err = row.clock(); err != nil {
			return nil, fmt.Errorf("read the clock of %s: %w", row.Environment, err)
		}
	}
	return clocks, nil
}

// WrongClocks lists the endpoints whose checks are held because the clock is
// wrong, by environment.
func (db *DB) WrongClocks(ctx context.Context) ([]clock.Endpoint, error) {
	clocks, err := db.EndpointClocks(ctx)
	return slices.DeleteFunc(clocks, func(c clock.Endpoint) bool { return !c.Held() }), err
}

// ClockDiffered notes a reply of an endpoint that differs from the clock; alone
// where one agreed since the last. wrong is true for the one caller whose reply
// makes the clock wrong.
func (db *DB) ClockDiffered(ctx context.Context, e iap.Environment, r clock.Reply, alone bool) (c clock.Endpoint, wrong bool, err error) {
	// One statement makes the row or locks it: it may be removed at any moment.
	const lock = `
		INSERT INTO endpoint_clocks (environment) VALUES ($1)
		ON CONFLICT (environment) DO UPDATE SET environment = excluded.environment
		RETURNING ` + endpointClockColumns
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		var row endpointClockRow
		if err := tx.GetContext(ctx, &row, lock, e); err != nil {
			return err
		}
		before, err := row.clock()
		if err != nil {
			return err
		}
		c = before.Differed(r, alone)
		wrong = c.Held() && !before.Held()
		return saveEndpointClock(ctx, tx, c)
	})
	if err != nil {
		return clock.Endpoint{}, false, fmt.Errorf("note that the time of %s differs: %w", e, err)
	}
	return c, wrong, nil
}

// ClockAgreed notes a reply of an endpoint that agrees with the clock. It ends
// what others have begun to suspect; a hold is ended by probes only. over is
// true for the one caller whose probe ends it, at a time by the clock of Apple's
// dates: it is that of the next checks that are corrected then.
func (db *DB) ClockAgreed(ctx context.Context, e iap.Environment, at time.Time, probe bool) (c clock.Endpoint, over bool, err error) {
	const remove = `DELETE FROM endpoint_clocks WHERE environment = $1`
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		over = false
		c, err = lockEndpointClock(ctx, tx, e)
		switch err = named(err); {
		case err == database.ErrNotFound:
			return nil
		case err != nil:
			return err
		case c.Held() && !probe:
			return nil
		case c.Held():
			if c, over = c.ProbeAgreed(); !over {
				return saveEndpointClock(ctx, tx, c)
			}
			if err := correctChecks(ctx, tx, at); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, remove, e)
		return err
	})
	if err != nil {
		return clock.Endpoint{}, false, fmt.Errorf("note that the time of %s agrees: %w", e, err)
	}
	return c, over, nil
}

// correctChecks makes due what was to be checked again soon by a clock that was far
// ahead, and has been corrected since: until then it is not known which of the two was
// wrong, Apple's time or the clock.
func correctChecks(ctx context.Context, tx *sqlx.Tx, now time.Time) error {
	const query = `
		UPDATE receipts SET next_check_at = $1
		WHERE next_check_rule = 'clock_differs' AND next_check_at > $2`
	if _, err := tx.ExecContext(ctx, query, now, now.Add(clock.DiffersWithin)); err != nil {
		return fmt.Errorf("correct next checks of a wrong clock: %w", err)
	}
	return nil
}

// ClaimClockProbe gives one caller the next check of an endpoint whose checks
// are held, where one is due.
func (db *DB) ClaimClockProbe(ctx context.Context, e iap.Environment, now time.Time) (claimed bool, err error) {
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		claimed = false
		c, err := lockEndpointClock(ctx, tx, e)
		if err = named(err); err == database.ErrNotFound {
			return nil
		}
		if claimed = err == nil && c.ProbeDue(now); !claimed {
			return err
		}
		return saveEndpointClock(ctx, tx, c.Probing(now))
	})
	if err != nil {
		return false, fmt.Errorf("claim a probe of the time of %s: %w", e, err)
	}
	return claimed, nil
}

func lockEndpointClock(ctx context.Context, tx *sqlx.Tx, e iap.Environment) (clock.Endpoint, error) {
	const query = `SELECT ` + endpointClockColumns + ` FROM endpoint_clocks WHERE environment = $1 FOR UPDATE`
	var row endpointClockRow
	if err := tx.GetContext(ctx, &row, query, e); err != nil {
		return clock.Endpoint{}, err
	}
	return row.clock()
}

func saveEndpointClock(ctx context.Context, tx *sqlx.Tx, c clock.Endpoint) error {
	const query = `
		UPDATE endpoint_clocks SET replies = $2, held_since = $3, ahead_seconds = $4, next_probe_at = $5, agreed = $6
		WHERE environment = $1`
	replies, err := json.Marshal(append([]clock.Reply{}, c.Replies...))
	if err != nil {
		return err
	}
	var probe *time.Time
	if !c.NextProbeAt.IsZero() {
		probe = &c.NextProbeAt
	}
	_, err = tx.ExecContext(ctx, query, c.Environment, string(replies), c.HeldSince, c.Ahead.Seconds(), probe, c.Agreed)
	return err
}
