package worker_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

// night lets a day go by and asks about all that is due then, until nothing of it
// is left for that night. What Redis remembers of the night before is gone.
func (s *site) night() {
	s.t.Helper()
	const day = 24 * time.Hour
	s.present = s.present.Add(day)
	s.sim.Clock().Advance(day)
	must(s.t, s.redis.FlushDB(s.t.Context()).Err())
	var err error
	s.run, err = s.db.OpenRun(s.t.Context(), runs.Run{
		Kind: runs.Manual, ScheduledFor: s.present, Cutoff: s.present, Deadline: s.present.Add(time.Hour),
	}, runs.Lease{Owner: "test", Until: s.present.Add(time.Hour)}, s.present)
	must(s.t, err)
	claims, err := s.db.Claim(s.t.Context(), claim.Request{
		RunID: s.run.ID, Cutoff: s.present, Now: s.present, Until: s.present.Add(time.Minute), Ahead: day, Limit: 1000,
	})
	must(s.t, err)
	tasks := make([]jobs.Verify, len(claims))
	for i, c := range claims {
		tasks[i] = jobs.Verify{ReceiptID: c.ReceiptID, Generation: c.Generation, RunID: s.run.ID, BundleID: c.BundleID}
	}
	s.enqueue(tasks)
	stop := s.start(s.worker())
	s.await("the end of the night", s.idle)
	stop()
	_, err = s.db.EndRun(s.t.Context(), s.run.ID, runs.Finished, s.present)
	must(s.t, err)
}

// allDue makes every receipt due in the next night.
func (s *site) allDue() {
	s.t.Helper()
	_, err := s.sql.ExecContext(s.t.Context(), `UPDATE receipts SET next_check_at = $1 WHERE state NOT IN ('malformed')`, s.present)
	must(s.t, err)
}

// newAccepted is a site of which Apple has accepted all receipts.
func newAccepted(t *testing.T, customers int) *site {
	t.Helper()
	s := newSite(t, customers, 1000)
	s.night()
	if got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND accepted_at IS NOT NULL`); got != customers {
		t.Fatalf("%d of %d receipts are accepted", got, customers)
	}
	return s
}

// mustBeInService fails where a receipt was taken out.
func (s *site) mustBeInService(when string, customers int) {
	s.t.Helper()
	got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND quarantined_at IS NULL
		AND (next_check_rule = 'settled' OR next_check_at IS NOT NULL AND next_check_rule NOT IN ('set_aside', 'quarantine_check'))`)
	if got != customers {
		s.t.Errorf("%s: %d of %d receipts are in service", when, got, customers)
	}
	if totals := s.totals(); totals.Quarantined != 0 {
		s.t.Errorf("%s: the run says that it quarantined %d", when, totals.Quarantined)
	}
}

// smallLimit is a proxy that refuses requests of more than 8 KB.
func smallLimit(w http.ResponseWriter, r *http.Request) bool {
	if r.ContentLength <= 8<<10 {
		return false
	}
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_, _ = io.WriteString(w, "<html><h1>413 Request Entity Too Large</h1><hr>nginx</html>")
	return true
}

// TestProxyWithASmallLimit is the fault that was seen: 29 small receipts, all
// accepted before, and a proxy with a limit of 8 KB before Apple. At the first
// reply all were taken out for ever.
func TestProxyWithASmallLimit(t *testing.T) {
	t.Parallel()
	const customers = 29
	s := newAccepted(t, customers)
	s.proxy = smallLimit
	s.allDue()
	s.night()
	s.mustBeInService("after a night", customers)
	refused := s.count(`SELECT count(*) FROM receipts WHERE last_error = 'proxy_refused_size'`)
	if refused == 0 {
		t.Fatal("the proxy refused nothing")
	}
	for range 9 {
		s.night()
	}
	s.mustBeInService("after ten nights", customers)
	if got := s.count(`SELECT count(*) FROM apps WHERE quarantine_stopped_at IS NOT NULL`); got != 0 {
		t.Error("quarantining is stopped, though nothing accused a receipt")
	}
	s.proxy = nil
	s.night()
	if got := s.count(`SELECT count(*) FROM receipts WHERE state = 'valid' AND last_error IS NULL`); got != customers {
		t.Errorf("%d of %d receipts are well in the night after the proxy was repaired", got, customers)
	}
}

// TestProxyHoldsBackItsSizeOnly has so many receipts that their breaker opens: the
// ones that the proxy lets through are asked about as before.
func TestProxyHoldsBackItsSizeOnly(t *testing.T) {
	t.Parallel()
	const customers = 120
	s := newAccepted(t, customers)
	small := s.count(`SELECT count(*) FROM receipts WHERE (byte_size + 2) / 3 * 4 < 8192 - 200`)
	if small == 0 || small == customers {
		t.Fatalf("%d of %d receipts are small", small, customers)
	}
	s.proxy = smallLimit
	s.allDue()
	s.night()
	s.mustBeInService("after a night", customers)
	if got := s.count(`SELECT count(*) FROM receipts WHERE last_error IS NULL AND next_check_rule <> 'held_back' AND (byte_size + 2) / 3 * 4 < 8192 - 200`); got != small {
		t.Errorf("%d of %d small receipts are checked", got, small)
	}
	refused := s.count(`SELECT count(*) FROM receipts WHERE last_error = 'proxy_refused_size'`)
	held := s.count(`SELECT count(*) FROM receipts WHERE next_check_rule = 'held_back' AND last_error IS NULL`)
	// The largest are too few for a breaker of their size.
	large := s.count(`SELECT count(*) FROM receipts WHERE (byte_size + 2) / 3 * 4 >= 16384`)
	if refused != 19+large || held == 0 {
		t.Errorf("%d refused and %d held back, want %d and the others", refused, held, 19+large)
	}
	if got := strings.Count(s.log.String(), "a proxy refuses requests of this size"); got != 1 {
		t.Errorf("%d alarms, want one:\n%s", got, s.log)
	}
	s.proxy = nil
	s.night()
	if got := s.count(`SELECT count(*) FROM receipts WHERE last_error IS NULL AND next_check_rule <> 'held_back'`); got != customers {
		t.Errorf("%d of %d receipts are checked after the proxy was repaired", got, customers)
	}
}

// TestProxyThatAnswersForApple has one that answers everything itself.
func TestProxyThatAnswersForApple(t *testing.T) {
	t.Parallel()
	page := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html><h1>Please sign in to this network</h1></html>")
			return true
		}
	}
	for name, proxy := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"403 with HTML": page(http.StatusForbidden), "200 with HTML": page(http.StatusOK),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const customers = 29
			s := newAccepted(t, customers)
			s.proxy = proxy
			s.allDue()
			for range 6 {
				s.night()
			}
			s.mustBeInService("after six nights", customers)
			s.proxy = nil
			s.night()
			if got := s.count(`SELECT count(*) FROM receipts WHERE last_error IS NULL`); got != customers {
				t.Errorf("%d of %d receipts are well in the end", got, customers)
			}
		})
	}
}

// TestAppleAccusesAllReceipts has Apple say for weeks that all receipts of an app
// are bad, which it accepted before: that is told once, nothing is believed, and
// when it is over quarantining goes on by itself.
func TestAppleAccusesAllReceipts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code  int
		class string
	}{
		{21003, "receipt_not_authenticated"},
		{21010, "account_gone"},
	} {
		t.Run(test.class, func(t *testing.T) {
			t.Parallel()
			const customers = 29
			s := newAccepted(t, customers)
			all := applesim.Rule{Fault: applesim.FaultCode, Status: test.code, Rate: 1}
			must(t, s.sim.SetFaults([]applesim.Rule{all}))
			s.allDue()
			for range 4 {
				s.night()
			}
			// A month of it: one receipt alone would be quarantined in the next night.
			_, err := s.sql.ExecContext(t.Context(), `UPDATE receipts SET failures_alike = 30 WHERE failures_alike > 0`)
			must(t, err)
			for range 3 {
				s.night()
			}
			s.mustBeInService("while all are accused", customers)
			if got := strings.Count(s.log.String(), "quarantining stopped=true class="+test.class); got != 1 {
				t.Errorf("told %d times, want once:\n%s", got, s.log)
			}
			stops, err := s.db.QuarantineStops(t.Context(), s.present)
			must(t, err)
			if len(stops) != 1 || stops[0].Class != test.class || stops[0].Accused != customers || stops[0].Checked != customers || stops[0].Quarantined != 0 {
				t.Errorf("stops: %+v", stops)
			}

			// One of them is bad indeed.
			var bad string
			must(t, s.sql.QueryRowContext(t.Context(), `SELECT customer_ref FROM receipts WHERE id = 1`).Scan(&bad))
			all.CustomerRef = bad
			must(t, s.sim.SetFaults([]applesim.Rule{all}))
			s.night()
			if stops, err = s.db.QuarantineStops(t.Context(), s.present); err != nil || len(stops) != 0 {
				t.Errorf("after a night of which all but one receipt were good, still stopped: %+v, %v", stops, err)
			}
			for range 3 {
				s.night()
			}
			if got := s.count(`SELECT count(*) FROM receipts WHERE state <> 'valid'`); got != 1 {
				t.Errorf("%d receipts are quarantined in the end, want the bad one", got)
			}
			if got := s.count(`SELECT count(*) FROM receipts WHERE last_error IS NULL`); got != customers-1 {
				t.Errorf("%d receipts are well in the end, want all others", got)
			}
		})
	}
}
