package worker_test

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"revalidator/internal/dev/repositorytest"
)

// oneSubscription chooses the replies of the first customer that is asked about and
// has a subscription.
type oneSubscription struct {
	once sync.Once
	id   []byte
}

var originalID = regexp.MustCompile(`"original_transaction_id": *"?\d+"?[^}]*"expires_date_ms"`)

func (o *oneSubscription) is(reply []byte) bool {
	found := originalID.Find(reply)
	if found == nil {
		return false
	}
	id, _, _ := bytes.Cut(found, []byte(","))
	o.once.Do(func() { o.id = append(bytes.Clone(id), ',') })
	return bytes.Contains(reply, o.id)
}

// TestWhatPostgresWouldNeverAccept has one customer's replies hold something that
// Postgres refuses. The receipt counts its calls and a failure, its state stays, the
// others are done, and the run ends.
func TestWhatPostgresWouldNeverAccept(t *testing.T) {
	t.Parallel()
	const customers = 24
	ids := regexp.MustCompile(`"transaction_id": *"(\d+)"`)
	statuses := regexp.MustCompile(`"status": *0`)
	products := regexp.MustCompile(`"product_id": *"`)
	for name, test := range map[string]struct {
		spoil  func(reply []byte) []byte
		latin1 bool
		class  string
	}{
		"a status of 2147483648": {func(reply []byte) []byte { return statuses.ReplaceAll(reply, []byte(`"status":2147483648`)) }, false, "reply_malformed"},
		"a transaction of 3,000 bytes": {func(reply []byte) []byte {
			return ids.ReplaceAll(reply, []byte(`"transaction_id":"${1}`+strings.Repeat("4", 3000)+`"`))
		}, false, "reply_malformed"},
		"Japanese in LATIN1": {func(reply []byte) []byte {
			return products.ReplaceAll(reply, []byte(`"offer_code_ref_name":"春の割引","product_id":"`))
		}, true, "save_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := repositorytest.URL(t)
			if test.latin1 {
				url = repositorytest.Latin1URL(t)
			}
			s := newSiteIn(t, url, customers, 1000)
			var chosen oneSubscription
			var begun atomic.Bool
			s.spoil = func(reply []byte) []byte {
				if begun.Load() && chosen.is(reply) {
					return test.spoil(reply)
				}
				return reply
			}
			// Another one is stored before, or the spoiled one may be alone without a witness.
			s.enqueue(s.claim(1))
			stop := s.start(s.worker())
			s.await("an empty queue", s.idle)
			begun.Store(true)
			s.enqueue(s.claim(customers - 1))
			s.await("an empty queue", s.idle)
			if got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND last_error IS NULL AND claimed_until IS NULL`); got != customers-1 {
				t.Errorf("%d receipts are done, want all but one; log:\n%s", got, s.log)
			}
			for round := 2; round <= 5; round++ { // failures in a row end its part in the run
				if got := s.count(`SELECT count(*) FROM receipts WHERE last_error = '` + test.class + `' AND state <> 'valid'
					AND claimed_until IS NULL AND run_id IS NOT NULL AND next_check_at IS NOT NULL`); got != 1 {
					t.Fatalf("round %d: %d receipts wait with a failure, want one; log:\n%s", round, got, s.log)
				}
				_, err := s.sql.ExecContext(t.Context(), `UPDATE receipts SET state = 'new', next_check_at = $1 WHERE run_id IS NOT NULL`, s.present)
				must(t, err)
				s.enqueue(s.claim(1))
				s.await("an empty queue", s.idle)
				if s.count(`SELECT count(*) FROM receipts WHERE run_id IS NOT NULL`) == 0 {
					break
				}
			}
			stop()
			totals := s.totals()
			if totals.Done != customers || totals.Failed != 1 || totals.Calls != int64(s.calls()) {
				t.Errorf("totals %+v, want all done, one failed, and %d calls", totals, s.calls())
			}
			if got := s.count(`SELECT count(*) FROM subscriptions WHERE expires_date > '2200-01-01' OR length(transaction_id) > 100`); got != 0 {
				t.Errorf("%d subscriptions hold what was sent", got)
			}
			if got := s.count(`SELECT sum(responses) FROM run_failures WHERE class = '` + test.class + `'`); got != s.calls()-customers+1 {
				t.Errorf("%d failures are counted, want %d", got, s.calls()-customers+1)
			}
		})
	}
}

// TestImpossibleDatesTellNothing has one customer's replies give an expiry at the end
// of 9999: the receipt is checked again later, and the others are done.
func TestImpossibleDatesTellNothing(t *testing.T) {
	t.Parallel()
	const customers = 24
	dates := regexp.MustCompile(`"expires_date_ms": *"\d+"`)
	s := newSite(t, customers, 1000)
	var chosen oneSubscription
	s.spoil = func(reply []byte) []byte {
		if chosen.is(reply) {
			return dates.ReplaceAll(reply, []byte(`"expires_date_ms":"253402300799999"`))
		}
		return reply
	}
	s.enqueue(s.claim(customers))
	stop := s.start(s.worker())
	s.await("an empty queue", s.idle)
	stop()
	if totals := s.totals(); totals.Done != customers || totals.Calls != customers {
		t.Errorf("totals %+v, want all done with one call each; log:\n%s", totals, s.log)
	}
	if got := s.count(`SELECT count(*) FROM receipts WHERE next_check_rule = 'undated' AND next_check_at IS NOT NULL`); got != 1 {
		t.Errorf("%d receipts wait for a date, want one", got)
	}
	if got := s.count(`SELECT count(*) FROM subscriptions WHERE expires_date > '2200-01-01'`); got != 0 {
		t.Errorf("%d subscriptions have the date", got)
	}
}

// TestAFaultOfOursCountsAgainstNoReceipt has a column of subscriptions missing for a
// while: the calls are counted, the results with subscriptions put off for minutes,
// and it is told once. Receipts without one are done, and prove nothing.
func TestAFaultOfOursCountsAgainstNoReceipt(t *testing.T) {
	t.Parallel()
	const customers = 24
	s := newSite(t, customers, 1000)
	rename := func(from, to string) {
		t.Helper()
		_, err := s.sql.ExecContext(t.Context(), `ALTER TABLE subscriptions RENAME COLUMN `+from+` TO `+to)
		must(t, err)
	}
	rename("offer_id", "elsewhere")
	arrived, answer := s.holdApple() // until all can share a batch
	s.enqueue(s.claim(customers))
	stop := s.start(s.worker())
	for range customers {
		<-arrived
	}
	answer()
	s.await("an empty queue", s.idle)
	putOff := s.count(`SELECT count(*) FROM receipts WHERE claimed_until IS NULL AND run_id IS NOT NULL AND last_checked_at IS NULL
		AND consecutive_failures = 0 AND next_check_rule = 'wait'
		AND next_check_at BETWEEN '` + s.present.Add(time.Minute).Format(time.RFC3339) + `' AND '` + s.present.Add(time.Hour).Format(time.RFC3339) + `'`) // an hour where one was alone
	totals := s.totals()
	if putOff < customers/2 || totals.Done != int64(customers-putOff) {
		t.Errorf("%d receipts are put off and %d done, want all of %d; log:\n%s", putOff, totals.Done, customers, s.log)
	}
	if totals.Calls != customers || totals.Failed != 0 || s.count(`SELECT count(*) FROM run_failures`) != 0 {
		t.Errorf("totals %+v, want the calls and no failure", totals)
	}
	if got := strings.Count(s.log.String(), "level=ERROR"); got != 1 {
		t.Errorf("%d errors are told, want one; log:\n%s", got, s.log)
	}
	rename("elsewhere", "offer_id")
	_, err := s.sql.ExecContext(t.Context(), `UPDATE receipts SET next_check_at = $1 WHERE run_id IS NOT NULL`, s.present)
	must(t, err)
	s.enqueue(s.claim(putOff))
	s.await("an empty queue again", s.idle)
	stop()
	if totals := s.totals(); totals.Done != customers || totals.Failed != 0 {
		t.Errorf("totals %+v, want all done", totals)
	}
}
