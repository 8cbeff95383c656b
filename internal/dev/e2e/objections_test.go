package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
)

// TestJudgeObjects spoils what a good night has left, in one way after the
// other: the judge finds each, and nothing where all is well.
func TestJudgeObjects(t *testing.T) {
	t.Parallel()
	const (
		customers = 150
		rate      = 400.0
		burst     = 20
	)
	n := newNight(t, applesim.Config{Seed: 15, Customers: customers}, rate, burst)
	must(t, n.judge().Watch(t.Context()))
	stop := n.beside(n.worker().Run)
	n.run("a first night")
	n.past.Add(int64(month))
	n.sim.Clock().Advance(month)
	since := n.lastRequest()
	n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
	run := n.run("a good night")
	stop()
	good := judge.Case{RunID: run.ID, Since: since, Started: n.now(), Rate: rate, Burst: burst, RateSlack: 750 * time.Millisecond}
	n.keepTables()
	const (
		oneReceipt      = ` WHERE id = (SELECT min(id) FROM receipts)`
		oneSubscription = ` WHERE original_transaction_id = (SELECT min(original_transaction_id) FROM subscriptions WHERE status = 'active')`
		// The only event of its moment: what is wanted is told exactly.
		oneEvent = ` WHERE id = (SELECT min(id) FROM subscription_events e WHERE type = 'renewed' AND NOT EXISTS (SELECT FROM subscription_events
			WHERE original_transaction_id = e.original_transaction_id AND as_of = e.as_of AND id <> e.id))`
		// The first version of a subscription, and one that no event led to.
		oneFirst = ` WHERE id = (SELECT min(id) FROM judge.history WHERE name = 'subscriptions')`
		oneQuiet = ` WHERE id = (SELECT max(id) FROM judge.history WHERE name = 'subscriptions' AND NOT EXISTS (SELECT FROM subscription_events
			WHERE original_transaction_id = version->>'original_transaction_id' AND as_of = (version->>'as_of')::timestamptz))`
	)
	for _, test := range []struct {
		name    string
		spoil   string
		without func(*judge.Case)
		want    string // empty: nothing
	}{
		{"nothing", ``, nil, ""},
		{"a result that is not stored", `UPDATE receipts SET last_checked_at = NULL` + oneReceipt, nil, "lost: receipt"},
		{"a failure that stays", `UPDATE receipts SET last_error = 'timeout'` + oneReceipt, nil, "lost: receipt"},
		{"a receipt that is never due again", `UPDATE receipts SET next_check_at = NULL, next_check_rule = 'renewal'` + oneReceipt, nil, "lost: receipt"},
		{"a receipt that nobody asked about", `UPDATE receipts SET sha256 = sha256(sha256)` + oneReceipt, nil, "lost: receipt"},
		{"a claim left behind", `UPDATE receipts SET claimed_until = now()` + oneReceipt, nil, "claim: receipt"},
		{"a receipt left in the run", `UPDATE receipts SET run_id = 1` + oneReceipt, nil, "claim: receipt"},
		{"a count too many", `UPDATE run_apps SET succeeded = succeeded + 1 WHERE bundle_id = (SELECT min(bundle_id) FROM apps)`, nil, "totals: run is finished"},
		{"a change that is not counted", `UPDATE run_apps SET changed = changed - 1 WHERE bundle_id = (SELECT min(bundle_id) FROM apps)`, nil, "totals:"},
		{"a state that never was", `UPDATE subscriptions SET status = 'revoked', as_of = as_of + interval '1 s'` + oneSubscription, nil, "version: subscriptions"},
		{"an older state", `UPDATE subscriptions SET as_of = as_of - interval '1 ms'` + oneSubscription, nil, "went back"},
		{"a subscription that is missing", `DELETE FROM subscriptions` + oneSubscription, nil, "is missing"},
		{"an event that is missing", `DELETE FROM subscription_events` + oneEvent, nil, `is told as [], want ["renewed of`},
		{"an event at another time", `UPDATE subscription_events SET as_of = as_of + interval '1 s'` + oneEvent, nil, "and there is no change"},
		{"an event of another type", `UPDATE subscription_events SET type = 'extended'` + oneEvent, nil, `is told as ["extended of`},
		{"an event of another period", `UPDATE subscription_events SET transaction_id = '1'` + oneEvent, nil, `is told as ["renewed of 1"], want ["renewed of`},
		{"an event without a change", invent("auto_renew_enabled") + oneQuiet, nil, `is told as ["auto_renew_enabled of`},
		{"news of what is old", invent("started") + oneFirst, nil, `is told as ["started of`},
		{"an event twice", tellAgain("type, transaction_id") + oneEvent, nil, `is told as ["renewed of`},
		{"one change by two names", tellAgain("'recovered', transaction_id") + oneEvent, nil, `is told as ["recovered of`},
		{"one change of two periods", tellAgain("type, '1'") + oneEvent, nil, `is told as ["renewed of 1" "renewed of`},
		{"an answer that is not stored", `DELETE FROM judge.history WHERE id = (SELECT max(id) FROM judge.history WHERE name = 'subscriptions')`, nil, "is not stored"},
		{"a state of the future", `UPDATE judge.history SET version = version || '{"as_of": "2090-01-01T00:00:00Z"}' WHERE id = (SELECT max(id) FROM judge.history WHERE name = 'subscriptions')`, nil, "is of the future"},
		{"a subscription that nobody looks at again", `UPDATE receipts SET next_check_at = NULL, next_check_rule = 'settled'
			WHERE id IN (SELECT receipt_id FROM receipt_subscriptions JOIN subscriptions USING (original_transaction_id) WHERE status = 'billing_retry')`, nil, "next check: com.example"},
		{"a receipt that rests for another customer's", `UPDATE receipts SET covered_by = (SELECT max(id) FROM receipts)` + oneReceipt, nil, "covered: receipt"},
		{"a receipt that is taken out at once", `UPDATE receipts SET state = 'malformed', next_check_at = NULL, next_check_rule = 'quarantined'` + oneReceipt, nil, "quarantine: receipt"},
		{"a rate that is exceeded", ``, func(c *judge.Case) { c.Rate, c.Burst = rate/20, 1 }, "ahead of its rate"},
	} {
		n.exec(test.spoil)
		c := good
		if test.without != nil {
			test.without(&c)
		}
		v, err := n.judge().Judge(t.Context(), c)
		must(t, err)
		complaints := strings.Join(v.Complaints, "\n")
		if test.want == "" && complaints != "" || !strings.Contains(complaints, test.want) {
			t.Errorf("%s: got complaints %q, want %q", test.name, complaints, test.want)
		}
		n.restoreTables()
	}
}

// tellAgain is the beginning of a statement that tells an event once more, as the
// type and transaction that are given in SQL.
func tellAgain(as string) string {
	return `INSERT INTO subscription_events (type, transaction_id, bundle_id, environment, original_transaction_id, product_id, after, as_of, recorded_at)
		SELECT ` + as + `, bundle_id, environment, original_transaction_id, product_id, after, as_of, recorded_at FROM subscription_events`
}

// invent is the beginning of a statement that tells an event of a version.
func invent(what string) string {
	return `INSERT INTO subscription_events (type, transaction_id, bundle_id, environment, original_transaction_id, product_id, after, as_of, recorded_at)
		SELECT '` + what + `', version->>'transaction_id', version->>'bundle_id', version->>'environment', version->>'original_transaction_id',
			version->>'product_id', version, (version->>'as_of')::timestamptz, now() FROM judge.history`
}

// spoiledTables are the tables that a statement spoils, and those whose rows go
// with the ones that it deletes.
func spoiledTables() []string {
	return []string{"receipts", "subscriptions", "receipt_subscriptions", "subscription_events", "run_apps", "judge.history"}
}

func (n *night) keepTables() {
	n.t.Helper()
	for i, table := range spoiledTables() {
		n.exec(fmt.Sprintf(`CREATE TABLE judge.kept_%d AS TABLE %s`, i, table))
		n.exec(fmt.Sprintf(`ALTER TABLE judge.kept_%d DROP COLUMN IF EXISTS in_run`, i)) // its last column, made from others
	}
}

// restoreTables makes the tables what they were, past every trigger.
func (n *night) restoreTables() {
	n.t.Helper()
	statement := `SET session_replication_role = replica;`
	for i, table := range spoiledTables() {
		statement += fmt.Sprintf(`DELETE FROM %s; INSERT INTO %[1]s OVERRIDING SYSTEM VALUE SELECT * FROM judge.kept_%d;`, table, i)
	}
	n.exec(statement)
}
