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
	// keyed is a T with nothing but its key.
	keyed func(K) T
	less  func(a, b K) int
	asOf  func(T) time.Time
	// shown is whether facts show a row at all; one that they do not is stored.
	shown func(T) bool
	// merge combines facts with the row that is stored.
	merge   func(before, facts T) (T, iap.Progress)
	changes func(before *T, after T, importedAt time.Time) []iap.Change
	// event is what every event of a step says, but for the change.
	event func(before *T, after T) event
}

const keyColumns = 3

// merged is the result of a merge: the rows, and what each receipt brought to them.
type merged[T any, K comparable] struct {
	// rows are those of all facts, and of what else was asked for.
	rows   map[K]T
	events []event
	// news are the receipts that moved a row forward, and less the rows of
	// which a receipt shows less than is stored.
	news map[int64]bool
	less map[int64][]K
}

// forward merges facts with the rows that are stored, and returns an event for each
// change on the way. It also locks and returns the rows of other keys, as they are
// stored. Rows are inserted and locked in the order of their keys, so that two
// batches that share rows wait for each other instead of locking each other out; and
// a row is inserted before it is looked for, so that two who both see it for the
// first time do not both call it new.
func (t table[T, K]) forward(ctx context.Context, tx *sqlx.Tx, facts []fact[T], others []K, now time.Time) (merged[T, K], error) {
	m := merged[T, K]{rows: make(map[K]T), news: make(map[int64]bool), less: make(map[int64][]K)}
	if len(facts)+len(others) == 0 {
		return m, nil
	}
	slices.SortStableFunc(facts, func(a, b fact[T]) int { return t.asOf(a.row).Compare(t.asOf(b.row)) })
	known, fresh := make(map[K]T), make(map[K]T)
	for _, k := range others {
		known[k] = t.keyed(k)
	}
	for _, f := range facts {
		k := t.key(f.row)
		if before, again := fresh[k]; again {
			fresh[k], _ = t.merge(before, f.row) // as advance does from the first on
		} else if t.shown(f.row) && !has(known, k) {
			fresh[k] = f.row
		}
	}
	inserted, err := t.insert(ctx, tx, t.sorted(fresh), now)
	if err != nil {
		return m, fmt.Errorf("insert %s: %w", t.name, err)
	}
	for k, row := range fresh {
		if !inserted[k] {
			known[k] = row
		}
	}
	if m.rows, err = t.lock(ctx, tx, t.sorted(known)); err != nil {
		return m, fmt.Errorf("lock %s: %w", t.name, err)
	}
	moved := t.advance(&m, facts)
	for k := range inserted {
		delete(moved, k) // stored as it is now already
	}
	rows := make(map[K]T, len(moved))
	for k := range moved {
		rows[k] = m.rows[k]
	}
	if err := t.update(ctx, tx, t.sorted(rows), now); err != nil {
		return m, fmt.Errorf("update %s: %w", t.name, err)
	}
	return m, nil
}

func has[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}

// advance goes through facts, oldest first, from the stored rows on, and returns
// which rows were changed.
func (t table[T, K]) advance(m *merged[T, K], facts []fact[T]) map[K]bool {
	moved := make(map[K]bool)
	for _, f := range facts {
		k := t.key(f.row)
		before, known := m.rows[k]
		if !known {
			m.news[f.reply.receiptID] = true
			m.events = append(m.events, t.tell(nil, f.row, f.reply)...)
			m.rows[k], moved[k] = f.row, true
			continue
		}
		after, progress := t.merge(before, f.row)
		switch progress {
		case iap.ProgressNone:
			continue
		case iap.ProgressMerged:
			m.news[f.reply.receiptID] = true
		case iap.ProgressShowsLess:
			m.less[f.reply.receiptID] = append(m.less[f.reply.receiptID], k)
		}
		m.events = append(m.events, t.tell(&before, after, f.reply)...)
		m.rows[k], moved[k] = after, true
	}
	return moved
}

// tell makes an event of each change between two states of a row.
func (t table[T, K]) tell(before *T, after T, by reply) []event {
	var events []event
	for _, c := range t.changes(before, after, by.importedAt) {
		e := t.event(before, after)
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

// insert returns the keys of the rows that were not stored before.
func (t table[T, K]) insert(ctx context.Context, tx *sqlx.Tx, rows []T, now time.Time) (map[K]bool, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	query := `
		INSERT INTO ` + t.name + ` (` + t.columns + `, updated_at)
		SELECT ` + t.columns + `, $2::timestamptz FROM json_populate_recordset(NULL::` + t.name + `, $1)
		ON CONFLICT DO NOTHING
		RETURNING (SELECT row_to_json(k) FROM (SELECT ` + columnsOf(t.columns, keyColumns) + `) k)`
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
