package main

import (
	"strings"
	"testing"

	"revalidator/internal/terminal"
)

// TestApps changes, pauses and resumes apps, for people and for scripts.
func TestApps(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "list", "--json")
	s.must(t, "apps", "add", readerApp, "--json")
	s.must(t, "apps", "set", readerApp, "--rate", "2.5", "--name", "Reader")
	s.must(t, "apps", "set", readerApp, "--burst", "3", "--json")
	s.must(t, "apps", "set", readerApp, "--grace-days", "16", "--resubscribe-days", "180", "--sweep-days", "14")
	s.must(t, "apps", "set", readerApp, "--sweep-days", "default")
	s.must(t, "apps", "pause", readerApp, "--reason", " moving to\n another team ")
	s.must(t, "apps", "pause", readerApp, "--reason", "sold")
	s.must(t, "apps", "list")
	s.must(t, "apps", "list", "--json")
	s.must(t, "apps", "resume", readerApp)
	s.must(t, "apps", "resume", readerApp)
	s.must(t, "apps", "resume", readerApp, "--quarantine")
	s.must(t, "apps", "list", "--quiet")
	for _, args := range [][]string{
		{"set", fitnessApp, "--rate", "1"}, {"pause", fitnessApp, "--reason", "sold"}, {"resume", fitnessApp},
		{"resume", fitnessApp, "--quarantine"}, {"remove", fitnessApp},
	} {
		if o := s.run(t, append([]string{"apps"}, args...)...); o.code != terminal.ExitFailure {
			t.Errorf("%q: exit code %d, want %d", args, o.code, terminal.ExitFailure)
		}
	}
	for _, args := range [][]string{
		{"set", readerApp}, {"set", readerApp, "--rate", "0"}, {"set", readerApp, "--rate", "NaN"}, {"set", readerApp, "--rate", "Inf"},
		{"set", readerApp, "--burst", "9999999999"},
		{"set", readerApp, "--grace-days", "61"}, {"set", readerApp, "--sweep-days", "0"}, {"set", readerApp, "--resubscribe-days", "year"},
		{"pause", readerApp}, {"pause", readerApp, "--reason", " "},
	} {
		if o := s.run(t, append([]string{"apps"}, args...)...); o.code != terminal.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", args, o.code, terminal.ExitUsage)
		}
	}
	checkWidth(t, results(s.transcript.String()))
	golden(t, "apps.txt", s.transcript.String())
}

// TestPauseOfAPersonStays has an app that the program has paused and then a
// person: a new secret does not put it back to work.
func TestPauseOfAPersonStays(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	s.exec(t, `UPDATE apps SET paused_at = now(), paused_code = 'shared_secret_refused'`)
	s.must(t, "apps", "pause", readerApp, "--reason", "sold")
	s.must(t, "secrets", "add", "--app", readerApp, "--file", writeFile(t, "secret", someSecret))
	if o := s.must(t, "apps", "list"); !strings.Contains(o.stdout, ": sold") {
		t.Errorf("the app is not paused any more:\n%s", o.stdout)
	}
}

// TestResultsAsJSON is what scripts get from the commands that do something.
func TestResultsAsJSON(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("DATABASE_URL", emptyDatabase(t))
	s.must(t, "migrate", "--json")
	s.must(t, "migrate", "--json")
	sim := s.openShop(t, 4)
	receipts := receiptsFile(t, sim)
	s.transcript.Reset()
	s.must(t, "import", receipts, "--json")
	rejected := writeFile(t, "bad.ndjson", `{"bundle_id":"com.example.reader","customer_ref":"1","receipt":"?"}`+"\n")
	if o := s.run(t, "import", rejected, "--json"); o.code != terminal.ExitFailures {
		t.Errorf("exit code: got %d, want %d", o.code, terminal.ExitFailures)
	}
	s.importedLongAgo(t)
	if o := s.must(t, "run", "--worker", "--json", "--quiet"); o.stderr != "" {
		t.Errorf("--quiet: got %q on standard error, want nothing", o.stderr)
	}
	golden(t, "json.txt", measured.ReplaceAllString(s.transcript.String(), "${1}<figure>"))
}

// TestLongNamesFit has an app with long names: what is said of it keeps to 80
// columns.
func TestLongNamesFit(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	const long = "com.example.international.readers.subscription.platform.plus"
	s.must(t, "apps", "add", long, "--name", strings.Repeat("Reader Plus ", 10))
	s.must(t, "apps", "add", fitnessApp)
	s.must(t, "apps", "pause", long, "--reason", strings.Repeat("it was sold, ", 10))
	s.addSecret(t, someSecret, "--app", long)
	s.exec(t, `INSERT INTO receipts (bundle_id, customer_ref, kind, sha256, byte_size, created_at, next_check_at, next_check_rule)
		SELECT bundle_id, 'c', 'app_receipt', sha256(bundle_id::bytea), 1, now(), now(), 'new' FROM apps`)
	s.transcript.Reset()
	s.must(t, "apps", "list")
	s.must(t, "secrets", "list")
	s.must(t, "receipts", "list")
	s.must(t, "status")
	s.must(t, "backfill", "--all", "--dry-run")
	s.must(t, "backfill", "--all", "--detach")
	s.must(t, "status", "1")
	s.must(t, "backfill", "list")
	checkWidth(t, results(s.transcript.String()))
}
