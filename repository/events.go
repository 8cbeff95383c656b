package repository

import (
	"context"
	"encoding/json"
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

// Event is one change of a subscription or purchase as it was recorded.
type Event struct {
	ID                    int64           `db:"id" json:"id"`
	Type                  iap.EventType   `db:"type" json:"type"`
	BundleID              string          `db:"bundle_id" json:"bundle_id"`
	Environment           iap.Environment `db:"environment" json:"environment"`
	OriginalTransactionID string          `db:"original_transaction_id" json:"original_transaction_id"`
	TransactionID         string          `db:"transaction_id" json:"transaction_id"`
	ProductID             string          `db:"product_id" json:"product_id"`
	// AsOf is Apple's time of the change, RecordedAt ours of the write.
	AsOf       time.Time `db:"as_of" json:"as_of"`
	RecordedAt time.Time `db:"recorded_at" json:"recorded_at"`
	RunID      *int64    `db:"run_id" json:"run_id"`
	ReceiptID  *int64    `db:"receipt_id" json:"receipt_id"`
}

// EventDetails is an event with all that was recorded of it.
type EventDetails struct {
	Event
	// HappenedAt is when the change took place, nil where Apple does not date it.
	HappenedAt *time.Time `db:"happened_at" json:"happened_at"`
	// Generation is with ReceiptID the evidence: which reply showed the change.
	Generation *int64 `db:"generation" json:"generation"`
	// Evidence is nil where a reply shows the change, and no_longer_shown where
	// it follows from replies that do not show the subscription any more.
	Evidence *string `db:"evidence" json:"evidence"`
	// Before and After are the row of subscriptions or purchases; Before is
	// null at the first sight.
	Before json.RawMessage `db:"before" json:"before"`
	After  json.RawMessage `db:"after" json:"after"`
	// CustomerRef is of the receipt that showed the change, nil where that is gone.
	CustomerRef *string `db:"customer_ref" json:"customer_ref"`
}

// EventQuery chooses events. Every zero field but Limit chooses nothing by itself.
type EventQuery struct {
	// After is the last id that was seen.
	After    int64
	BundleID string
	Types    []iap.EventType
	// CustomerRef chooses the events of what a customer's receipts show; it is a
	// pointer because an empty reference is one as well.
	CustomerRef *string
	RunID       int64
	ProductID   string
	// Since leaves out what was recorded before.
	Since time.Time
	Limit int
}
