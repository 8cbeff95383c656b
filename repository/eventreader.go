package repository

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/database"
)

const (
	eventColumns = `id, type, bundle_id, environment, original_transaction_id, transaction_id, product_id,
		as_of, happened_at, recorded_at, run_id, receipt_id, generation, evidence, coalesce(before, 'null') AS before, after,
		(SELECT customer_ref FROM receipts WHERE receipts.id = receipt_id) AS customer_ref`
	// The events of a customer come first, by their subscriptions: there are few.
	chosenEvents = `($2 = '' OR bundle_id = $2) AND ($3::text[] IS NULL OR type = ANY($3)) AND recorded_at >= $4
		AND ($5::text IS NULL OR id = ANY(ARRAY(
			SELECT e.id FROM (
				SELECT l.bundle_id, l.environment, l.original_transaction_id
				FROM receipts r JOIN receipt_subscriptions l ON l.receipt_id = r.id WHERE r.customer_ref = $5
				UNION
				SELECT p.bundle_id, p.environment, p.original_transaction_id
				FROM receipts r JOIN purchases p ON p.receipt_id = r.id WHERE r.customer_ref = $5
			) shown JOIN subscription_events e USING (original_transaction_id, bundle_id, environment))))
		AND ($6::bigint = 0 OR run_id = $6) AND ($7 = '' OR product_id = $7)`
)

// eventArgs are the parameters of chosenEvents, and what comes before and after them.
func eventArgs(first int64, q EventQuery, last ...any) []any {
	return append([]any{first, q.BundleID, pq.Array(q.Types), q.Since, q.CustomerRef, q.RunID, q.ProductID}, last...)
}

// Events is a page of events in their order, and after which id to go on. That
// is the last id of a full page, and else the last one there was, so that a
// reader of few does not come past all the others again.
func (db *DB) Events(ctx context.Context, q EventQuery) (events []EventDetails, next int64, err error) {
	const last = `SELECT coalesce(max(id), 0) FROM subscription_events`
	const query = `
		SELECT ` + eventColumns + ` FROM subscription_events
		WHERE id > $1 AND ` + chosenEvents + ` AND id <= $8
		ORDER BY id LIMIT $9`
	// First: what comes between the two statements is left for the next page.
	if err := db.db.GetContext(ctx, &next, last); err != nil {
		return nil, q.After, fmt.Errorf("read events: %w", err)
	}
	err = db.db.SelectContext(ctx, &events, query, eventArgs(q.After, q, next, q.Limit)...)
	if err != nil {
		return nil, q.After, fmt.Errorf("read events: %w", err)
	}
	if len(events) == q.Limit {
		next = events[len(events)-1].ID
	}
	return events, max(next, q.After), nil
}

const newestEventsQuery = `
	SELECT ` + eventColumns + ` FROM subscription_events
	WHERE id <= $1 AND ` + chosenEvents + `
	ORDER BY id DESC LIMIT $8`

// NewestEvents are the newest q.Limit of the chosen events in their order, and
// after which id to go on.
func (db *DB) NewestEvents(ctx context.Context, q EventQuery) (events []EventDetails, next int64, err error) {
	const last = `SELECT coalesce(max(id), 0) FROM subscription_events`
	if err := db.db.GetContext(ctx, &next, last); err != nil {
		return nil, 0, fmt.Errorf("read the newest events: %w", err)
	}
	err = db.db.SelectContext(ctx, &events, newestEventsQuery, eventArgs(next, q, q.Limit)...)
	if err != nil {
		return nil, 0, fmt.Errorf("read the newest events: %w", err)
	}
	slices.Reverse(events)
	return events, next, nil
}

// EventProducts lists the products that there are events of, by steps from one to the
// next in the index subscription_events_product.
func (db *DB) EventProducts(ctx context.Context) ([]string, error) {
	const query = `
		WITH RECURSIVE step AS (
			(SELECT product_id FROM subscription_events ORDER BY product_id LIMIT 1)
			UNION ALL
			SELECT (SELECT e.product_id FROM subscription_events e WHERE e.product_id > step.product_id ORDER BY e.product_id LIMIT 1)
			FROM step WHERE step.product_id IS NOT NULL
		)
		SELECT product_id FROM step WHERE product_id IS NOT NULL`
	var products []string
	if err := db.db.SelectContext(ctx, &products, query); err != nil {
		return nil, fmt.Errorf("list the products of events: %w", err)
	}
	return products, nil
}

// clockSkew is how far the clocks of workers may be apart.
const clockSkew = 10 * time.Minute

// EventBefore is an id below every event that was recorded since a time, found
// without reading those before. Events have an order by id alone; their times
// follow it as far as the clocks of the workers agree.
func (db *DB) EventBefore(ctx context.Context, since time.Time) (int64, error) {
	const last = `SELECT coalesce(max(id), 0) FROM subscription_events`
	const probe = `SELECT recorded_at FROM subscription_events WHERE id >= $1 ORDER BY id LIMIT 1`
	var high int64
	if err := db.db.GetContext(ctx, &high, last); err != nil {
		return 0, fmt.Errorf("find events since %s: %w", since.Format(time.RFC3339), err)
	}
	low := int64(0) // the first event at or above is too old, or there is none before
	for since = since.Add(-clockSkew); low < high; {
		middle := low + (high-low+1)/2
		var at time.Time
		err := named(db.db.GetContext(ctx, &at, probe, middle))
		switch {
		case errors.Is(err, database.ErrNotFound) || err == nil && !at.Before(since):
			high = middle - 1
		case err == nil:
			low = middle
		default:
			return 0, fmt.Errorf("find events since %s: %w", since.Format(time.RFC3339), err)
		}
	}
	return low, nil
}

// ListenForEvents hears of events as they are written, until stop is called. One
// value stands for any number of them. That nothing is heard says nothing: the
// connection may be gone, or go through a proxy that hands it to others, so a
// reader polls as well. stop waits for what it started, up to two seconds where
// Postgres is away.
func (db *DB) ListenForEvents() (heard <-chan struct{}, stop func()) {
	const soonest, latest = time.Second, 2 * time.Second // between two tries to connect
	ctx, cancel := context.WithCancel(context.Background())
	listener := pq.NewDialListener(endingDialer{ctx}, db.url.Reveal(), soonest, latest, nil)
	signal := make(chan struct{}, 1)
	var group sync.WaitGroup
	group.Go(func() {
		_ = listener.Listen(EventChannel) // waits for a connection, or for Close
	})
	group.Go(func() {
		for range listener.Notify { // also after each new connection
			select {
			case signal <- struct{}{}:
			default:
			}
		}
	})
	return signal, func() {
		cancel() // first: while it tries to connect it cannot be closed
		_ = listener.Close()
		group.Wait()
	}
}

// endingDialer makes connections that end with a context, which lib/pq's listener
// does not take.
type endingDialer struct{ ctx context.Context }

// Dial and DialTimeout implement pq.Dialer.
func (d endingDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, connectTimeout)
}

func (d endingDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(d.ctx, network, address)
	if err == nil {
		context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	}
	return conn, err
}
