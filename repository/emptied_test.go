package repository_test

import (
	"strconv"
	"testing"
	"time"
)

// A VACUUM of empty tables must not make Postgres walk through them for each row
// of the first night.
func TestSaveFindsRowsByTheirKeys(t *testing.T) {
	o := openObserved(t, 1)
	if _, err := o.raw.ExecContext(t.Context(), `VACUUM ANALYZE`); err != nil {
		t.Fatal(err)
	}
	const n = 20
	o.receipts(app, n)
	run := o.run()
	for _, c := range o.claim(run, n) {
		outcome := success(c, run, noon)
		outcome.Conclusion.Subscriptions[0].OriginalTransactionID = strconv.FormatInt(c.ReceiptID, 10)
		o.save(outcome)
	}
	o.must(o.Close()) // which has Postgres count what the connection did
	const query = `SELECT seq_tup_read, idx_scan FROM pg_stat_user_tables WHERE relname = 'subscriptions'`
	deadline := time.Now().Add(20 * time.Second)
	for poll := time.NewTicker(10 * time.Millisecond); ; <-poll.C {
		var walked, found int
		if err := o.raw.QueryRowContext(t.Context(), query).Scan(&walked, &found); err != nil {
			t.Fatal(err)
		}
		if walked > 0 {
			t.Fatalf("read %d rows of subscriptions for %d receipts in walks through the table, want none", walked, n)
		}
		if found >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Postgres counted %d looks at subscriptions by key, want %d", found, n)
		}
	}
}
