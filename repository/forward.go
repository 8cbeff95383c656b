package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/iap"
)

// fact is one row as one reply shows it.
type fact[T any] struct {
	row        T
	receiptID  int64
	generation int64
	runID      int64
}

// table is a kind of row that moves forward in Apple's time only.
type table[T any, K comparable] struct {
	name string
	// columns are the names that a T has in JSON; the first keys of them are
	// the primary key.
	columns string
	key     func(T) K
	less    func(a, b K) int
	asOf    func(T) time.Time
	changes func(before *T, after T) []iap.EventType
	event   func(T) event
}

const keyColumns = 3

// forward moves rows forward to the newest of the facts, and returns an event
// for each change on the way. Rows are inserted and locked in the order of
// their keys, so that two batches that share rows wait for each other instead
// of locking each other out; and a row is inserted before it is looked for, so
// that two who both see it for the first time do not both call it new.
func (t table[T, K]) forward(ctx context.Context, tx *sqlx.Tx, facts []fact[T], now time.Time) ([]event, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(facts, func(a, b fact[T]) int { return t.asOf(a.row).Compare(t.asOf(b.row)) })
	newest := make(map[K]T)
	for _, f := range facts {
		newest[t.key(f.row)] = f.row
	}
	inserted, err := t.insert(ctx, tx, t.sorted(newest), now)
	if err != nil {
		return nil, fmt.Errorf("insert %s: %w", t.name, err)
	}
	known := make(map[K]T)
	for k, row := range newest {
		if !inserted[k] {
			known[k] = row
		}
	}
	stored, err := t.lock(ctx, tx, t.sorted(known))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", t.name, err)
	}
	events, moved := t.advance(facts, stored)
	for k := range inserted {
		delete(moved, k) // stored as it is now already
	}
	if err := t.update(ctx, tx, t.sorted(moved), now); err != nil {
		return nil, fmt.Errorf("update %s: %w", t.name, err)
	}
	return events, nil
}

// advance goes through facts, oldest first, from the stored rows on. Facts that
// are not newer than what is known change nothing.
func (t table[T, K]) advance(facts []fact[T], state map[K]T) (events []event, moved map[K]T) {
	moved = make(map[K]T)
	for _, f := range facts {
		k := t.key(f.row)
		before, known := state[k]
		if known && !iap.Supersedes(t.asOf(before), t.asOf(f.row)) {
			continue
		}
		var earlier *T
		if known {
			earlier = &before
		}
		for _, kind := range t.changes(earlier, f.row) {
			e := t.event(f.row)
			e.Type, e.After = kind, f.row
			if earlier != nil {
				e.Before = *earlier
			}
			e.ReceiptID, e.Generation, e.RunID = f.receiptID, f.generation, f.runID
			events = append(events, e)
		}
		state[k], moved[k] = f.row, f.row
	}
	return events, moved
}

func (t table[T, K]) sorted(rows map[K]T) []T {
	all := make([]T, 0, len(rows))
	for _, row := range rows {
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b T) int { return t.less(t.key(a), t.key(b)) })
	return all
}

func (t table[T, K]) insert(ctx context.Context, tx *sqlx.Tx, rows []T, now time.Time) (map[K]bool, error) {
	query := `
		INSERT INTO ` + t.name + ` (` + t.columns + `, updated_at)
		SELECT ` + t.columns + `, $2::timestamptz FROM json_populate_recordset(NULL::` + t.name + `, $1)
		ON CONFLICT DO NOTHING
		RETURNING row_to_json(` + t.name + `)`
	inserted, err := selectJSON[T](ctx, tx, query, rows, now)
	if err != nil {
		return nil, err
	}
	keys := make(map[K]bool, len(inserted))
	for _, row := range inserted {
		keys[t.key(row)] = true
	}
	return keys, nil
}

func (t table[T, K]) lock(ctx context.Context, tx *sqlx.Tx, rows []T) (map[K]T, error) {
	key := columnsOf(t.columns, keyColumns)
	query := `
		SELECT row_to_json(s) FROM (
			SELECT ` + t.columns + ` FROM ` + t.name + `
			WHERE (` + key + `) IN (SELECT ` + key + ` FROM json_populate_recordset(NULL::` + t.name + `, $1))
			ORDER BY ` + key + ` FOR UPDATE) s`
	stored := make(map[K]T, len(rows))
	if len(rows) == 0 {
		return stored, nil
	}
	found, err := selectJSON[T](ctx, tx, query, rows)
	if err != nil {
		return nil, err
	}
	for _, row := range found {
		stored[t.key(row)] = row
	}
	return stored, nil
}

func (t table[T, K]) update(ctx context.Context, tx *sqlx.Tx, rows []T, now time.Time) error {
	key := columnsOf(t.columns, keyColumns)
	query := `
		UPDATE ` + t.name + ` t
		SET (` + t.columns + `, updated_at) = (SELECT ` + t.columns + `, $2::timestamptz FROM (SELECT n.*) x)
		FROM json_populate_recordset(NULL::` + t.name + `, $1) n
		WHERE (` + prefixed("t.", key) + `) = (` + prefixed("n.", key) + `)`
	return execJSON(ctx, tx, query, rows, now)
}

// selectJSON gives rows to a statement as one JSON document, and reads the
// document that it returns for each row.
func selectJSON[T any](ctx context.Context, tx *sqlx.Tx, query string, rows []T, args ...any) ([]T, error) {
	given, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	var documents []string
	if err := tx.SelectContext(ctx, &documents, query, append([]any{string(given)}, args...)...); err != nil {
		return nil, err
	}
	values := make([]T, len(documents))
	for i, d := range documents {
		if err := json.Unmarshal([]byte(d), &values[i]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// execJSON runs a statement over rows, given as one JSON document, and does
// nothing where there are none.
func execJSON[T any](ctx context.Context, tx *sqlx.Tx, query string, rows []T, args ...any) error {
	if len(rows) == 0 {
		return nil
	}
	document, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, append([]any{string(document)}, args...)...)
	return err
}
