package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/iap"
)

// EventChannel is where Postgres announces each transaction that wrote events,
// with the id of its last one. A reader behind a transaction-pooling proxy hears
// nothing there, and polls.
const EventChannel = "revalidator_events"

// event is a row of subscription_events to be written.
type event struct {
	Type                  iap.EventType   `json:"type"`
	BundleID              string          `json:"bundle_id"`
	Environment           iap.Environment `json:"environment"`
	OriginalTransactionID string          `json:"original_transaction_id"`
	TransactionID         string          `json:"transaction_id"`
	ProductID             string          `json:"product_id"`
	Before                any             `json:"before,omitempty"`
	After                 any             `json:"after"`
	AsOf                  time.Time       `json:"as_of"`
	HappenedAt            time.Time       `json:"happened_at,omitzero"`
	RunID                 int64           `json:"run_id,omitempty"`
	ReceiptID             int64           `json:"receipt_id"`
	Generation            int64           `json:"generation"`
	Evidence              string          `json:"evidence,omitempty"`
}

// noLongerShown is the evidence of an event that no reply shows.
const noLongerShown = "no_longer_shown"

// saveEvents appends events in their order, announces them, and returns the
// receipts that brought them.
//
// Readers ask for ids above the last one that they saw, so no id may become
// visible below one that is visible. Ids are drawn by the INSERT and seen at the
// commit, in whatever order transactions commit; therefore the transactions that
// write events go one at a time from here to their commit. The lock belongs to
// the transaction, not the session, and Postgres gives it up only after the
// commit can be seen. Nobody waits for it with anything locked that comes after
// it in SaveOutcomes, so that nobody waits for each other.
func saveEvents(ctx context.Context, tx *sqlx.Tx, events []event, now time.Time) (map[int64]bool, error) {
	// By itself, because a statement sees what was committed when it began, and
	// draws ids while it waits for nothing.
	const lock = `SELECT pg_advisory_xact_lock($1)`
	const write = `
		WITH written AS (
			INSERT INTO subscription_events (type, bundle_id, environment, original_transaction_id, transaction_id,
				product_id, before, after, as_of, happened_at, run_id, receipt_id, generation, evidence, recorded_at)
			SELECT type, bundle_id, environment, original_transaction_id, transaction_id,
				product_id, before, after, as_of, happened_at, run_id, receipt_id, generation, evidence, $2::timestamptz
			FROM json_populate_recordset(NULL::subscription_events, $1) WITH ORDINALITY
			ORDER BY ordinality
			RETURNING subscription_events.id)
		SELECT max(id) FROM written`
	const announce = `SELECT pg_notify($1, $2::bigint::text)`
	if len(events) == 0 {
		return nil, nil
	}
	if _, err := tx.ExecContext(ctx, lock, eventLock); err != nil {
		return nil, fmt.Errorf("wait for the turn to write events: %w", err)
	}
	var last int64
	for document, err := range documents(events) {
		if err == nil {
			err = tx.GetContext(ctx, &last, write, document, now)
		}
		if err != nil {
			return nil, fmt.Errorf("write events: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, announce, EventChannel, last); err != nil {
		return nil, fmt.Errorf("announce events: %w", err)
	}
	changed := make(map[int64]bool)
	for _, e := range events {
		changed[e.ReceiptID] = true
	}
	return changed, nil
}

// eventLock is the advisory lock under which events are written. Advisory locks
// belong to the whole database: another program in it must not use this one.
const eventLock = 7_238_405_519_202_611
