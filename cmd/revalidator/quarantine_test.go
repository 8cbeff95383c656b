package main

import (
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/report"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// behindAProxy has the session ask Apple through a proxy with a limit of 8 KB.
func (s *session) behindAProxy(t *testing.T, sim *applesim.Server) {
	t.Helper()
	apple := sim.Handler()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 8<<10 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, "<html><h1>413 Request Entity Too Large</h1></html>")
			return
		}
		apple.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	s.set("REVALIDATOR_APPLE_PRODUCTION_URL", proxy.URL+"/production/verifyReceipt")
	s.set("REVALIDATOR_APPLE_SANDBOX_URL", proxy.URL+"/sandbox/verifyReceipt")
}

// TestRunBehindAProxyWithASmallLimit is what an operator saw: the run said that
// receipts were due again, and they were out of service for ever; doctor found
// nothing.
func TestRunBehindAProxyWithASmallLimit(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("REVALIDATOR_RETRY_LIMIT", "1")
	sim := s.openShop(t, 60)
	s.must(t, "run", "--worker", "--quiet")
	s.behindAProxy(t, sim)
	s.exec(t, `UPDATE receipts SET next_check_at = now() - interval '10 years'`) // by whichever clock
	s.transcript.Reset()
	o := s.run(t, "run", "--worker", "--quiet")
	if o.code != terminal.ExitFailures || !strings.Contains(o.stderr, "they are due again") || strings.Contains(o.stderr, "quarantined") {
		t.Errorf("the run: got exit code %d and %q, want that some failed and are due again", o.code, o.stderr)
	}
	if o := s.must(t, "receipts", "quarantined", "--json", "--quiet"); !strings.Contains(o.stdout, `"receipts": []`) {
		t.Errorf("in quarantine: %s", o.stdout)
	}
	lost := s.number(t, `SELECT count(*) FROM receipts WHERE last_error IS NOT NULL AND next_check_at IS NULL`)
	if lost > 0 {
		t.Errorf("%d receipts failed and are never due again", lost)
	}
	if refused := s.number(t, `SELECT count(*) FROM receipts WHERE last_error = 'proxy_refused_size'`); refused < 20 {
		t.Fatalf("%d receipts were refused, too few to prove anything", refused)
	}
	_, states := s.examined(t, "--offline")
	if states["last_run"] != string(report.Warning) {
		t.Errorf("doctor: the last run is %s, want a warning", states["last_run"])
	}
}

func TestFailedText(t *testing.T) {
	t.Parallel()
	const begin = " of 30 receipts failed; their subscriptions are as they were, and "
	const end = ": see 'revalidator receipts list --failed --run 7'"
	for want, totals := range map[string]runs.Totals{
		"29" + begin + "they are due again" + end:                                 {Figures: runs.Figures{Done: 30, Failed: 29}},
		"29" + begin + "they are due again, but for 4 that are quarantined" + end: {Figures: runs.Figures{Done: 30, Failed: 29}, Quarantined: 4},
		"4" + begin + "all of them are quarantined" + end:                         {Figures: runs.Figures{Done: 30, Failed: 4}, Quarantined: 4},
	} {
		totals.ID = 7
		if got := failedText(totals); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// number asks the session's database for one number.
func (s *session) number(t *testing.T, query string) (n int) {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
