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
	row   T
	reply reply
}

// reply is which one shows a fact.
type reply struct {
	receiptID  int64
	generation int64
	runID      int64
	importedAt time.Time // of the receipt
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
	// settle completes a newer row by what is known.
	settle  func(before, after T) T
	changes func(before *T, after T, importedAt time.Time) []iap.Change
	// event is what every event of a row says.
	event func(T) event
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
		if moved[k].facts == 1 {
			delete(moved, k) // stored as it is now already
		}
	}
	if err := t.update(ctx, tx, t.sorted(rowsOf(moved)), now); err != nil {
		return nil, fmt.Errorf("update %s: %w", t.name, err)
	}
	return events, nil
}

// moved is a row as it has become, and by how many facts.
type moved[T any] struct {
	row   T
	facts int
}

func rowsOf[T any, K comparable](all map[K]moved[T]) map[K]T {
	rows := make(map[K]T, len(all))
	for k, m := range all {
		rows[k] = m.row
	}
	return rows
}

// advance goes through facts, oldest first, from the stored rows on. Facts that
// are not newer than what is known change nothing.
func (t table[T, K]) advance(facts []fact[T], state map[K]T) ([]event, map[K]moved[T]) {
	var events []event
	all := make(map[K]moved[T])
	for _, f := range facts {
		k := t.key(f.row)
		var earlier *T
		after := f.row
		if before, known := state[k]; known {
			if !iap.Supersedes(t.asOf(before), t.asOf(f.row)) {
				continue
			}
			earlier, after = &before, t.settle(before, f.row)
		}
		events = append(events, t.tell(earlier, after, f.reply)...)
		state[k], all[k] = after, moved[T]{after, all[k].facts + 1}
	}
	return events, all
}

// tell makes an event of each change between two states of a row.
func (t table[T, K]) tell(before *T, after T, by reply) []event {
	var events []event
	for _, c := range t.changes(before, after, by.importedAt) {
		e := t.event(after)
		e.Type, e.TransactionID, e.ProductID, e.HappenedAt, e.After = c.Type, c.TransactionID, c.ProductID, c.At, after
		if before != nil {
			e.Before = *before
		}
		e.ReceiptID, e.Generation, e.RunID = by.receiptID, by.generation, by.runID
		events = append(events, e)
	}
	return events
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

// selectJSON gives rows to a statement, as JSON documents one after the other, and
// reads the document that it returns for each row.
func selectJSON[T any](ctx context.Context, tx *sqlx.Tx, query string, rows []T, args ...any) ([]T, error) {
	var values []T
	for given, err := range documents(rows) {
		if err != nil {
			return nil, err
		}
		var found []string
		if err := tx.SelectContext(ctx, &found, query, append([]any{given}, args...)...); err != nil {
			return nil, err
		}
		for _, document := range found {
			var value T
			if err := json.Unmarshal([]byte(document), &value); err != nil {
				return nil, err
			}
			values = append(values, value)
		}
	}
	return values, nil
}

// execJSON runs a statement over rows, given as JSON documents one after the other.
func execJSON[T any](ctx context.Context, tx *sqlx.Tx, query string, rows []T, args ...any) error {
	for given, err := range documents(rows) {
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, query, append([]any{given}, args...)...); err != nil {
			return err
		}
	}
	return nil
}
