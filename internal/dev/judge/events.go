package judge

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// moment is a row at a time of Apple's.
type moment struct {
	key
	asOf int64
}

// telling is what events tell, per row and moment: each as its type and
// transaction, in order of these; and the states that they led to.
type telling struct {
	events map[moment][]string
	states map[key][]row
}

// told is what subscription_events tells.
func (j *Judge) told(ctx context.Context) (telling, error) {
	const query = `
		SELECT CASE WHEN after ? 'expires_date' THEN 'subscriptions' ELSE 'purchases' END, as_of, type, transaction_id, after
		FROM subscription_events ORDER BY id`
	told := telling{make(map[moment][]string), make(map[key][]row)}
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return told, fmt.Errorf("read the events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var asOf time.Time
		var table, what, transactionID, after string
		if err := rows.Scan(&table, &asOf, &what, &transactionID, &after); err != nil {
			return told, fmt.Errorf("read the events: %w", err)
		}
		r, err := parseRow(table, after)
		if err != nil {
			return told, err
		}
		at := moment{r.key, ms(asOf)}
		told.events[at] = append(told.events[at], event(what, transactionID))
		told.states[r.key] = append(told.states[r.key], r)
	}
	for _, events := range told.events {
		slices.Sort(events)
	}
	return told, rows.Err()
}

// with are the versions of a row and, before the one that it came to, those that
// only events tell of, because the transaction that made them went on.
func (t telling) with(k key, versions []row) []row {
	var all []row
	states := t.states[k]
	slices.SortStableFunc(states, func(a, b row) int { return a.asOf.Compare(b.asOf) })
	for _, r := range versions {
		n := 0
		for n < len(states) && !states[n].asOf.After(r.asOf) {
			n++
		}
		for _, s := range states[:n] {
			isAs := func(other row) bool { return s.asOf.Equal(other.asOf) && s.isAs(&other) }
			if !slices.ContainsFunc(versions, isAs) && !slices.ContainsFunc(all, isAs) {
				all = append(all, s)
			}
		}
		all, states = append(all, r), states[n:]
	}
	return all
}

func event(what, transactionID string) string { return what + " of " + transactionID }

// imported is when the first receipt came in that shows a row.
func (j *Judge) imported(ctx context.Context) (map[key]time.Time, error) {
	const query = `
		SELECT 'subscriptions', s.bundle_id, s.environment, s.original_transaction_id, min(r.created_at)
		FROM receipt_subscriptions s JOIN receipts r ON r.id = s.receipt_id GROUP BY 1, 2, 3, 4
		UNION ALL
		SELECT 'purchases', p.bundle_id, p.environment, p.transaction_id, r.created_at
		FROM purchases p JOIN receipts r ON r.id = p.first_receipt_id`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read when receipts were imported: %w", err)
	}
	defer func() { _ = rows.Close() }()
	imported := make(map[key]time.Time)
	for rows.Next() {
		var k key
		var at time.Time
		if err := rows.Scan(&k.table, &k.bundleID, &k.environment, &k.id, &at); err != nil {
			return nil, fmt.Errorf("read when receipts were imported: %w", err)
		}
		imported[k] = at
	}
	return imported, rows.Err()
}
