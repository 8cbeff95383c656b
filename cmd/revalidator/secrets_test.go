package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/terminal"
)

const otherSecret = "fedcba9876543210fedcba9876543210"

// addSecret adds a secret from standard input.
func (s *session) addSecret(t *testing.T, secret string, flags ...string) outcome {
	t.Helper()
	return s.runWith(t, secret+"\n", append([]string{"secrets", "add", "--file", "-"}, flags...)...)
}

// TestSecrets is a regeneration as a person lives it: the old secret is refused,
// the new one is added and verified, the old one retired and removed.
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	s.transcript.Reset()
	s.run(t, "secrets", "list")
	s.run(t, "secrets", "verify")
	sim := s.openReader(t)
	old := sim.Secrets(readerApp)[0]
	s.run(t, "secrets", "verify", "--app", readerApp)
	sim.SetSecrets(readerApp, []string{someSecret})
	s.run(t, "secrets", "verify")
	s.addSecret(t, someSecret, "--app", readerApp)
	s.addSecret(t, otherSecret, "--primary")
	s.run(t, "secrets", "verify")
	s.run(t, "secrets", "list")
	s.run(t, "secrets", "retire", "1")
	s.run(t, "secrets", "retire", "1")
	s.run(t, "secrets", "remove", "3")
	s.run(t, "secrets", "remove", "3")
	s.run(t, "secrets", "remove", "2")
	s.run(t, "secrets", "list")
	checkWidth(t, results(s.transcript.String()))
	checkSilence(t, s, someSecret, otherSecret, old)
	golden(t, "secrets.txt", fingerprintsHidden(s.transcript.String()))
}

// openReader adds the secret and the receipts of the reader app.
func (s *session) openReader(t *testing.T) *applesim.Server {
	t.Helper()
	sim, err := applesim.New(applesim.Config{
		Seed: 1, Customers: 8, Start: appStart, Apps: []applesim.App{applesim.NewApp(1, readerApp, true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pointTo(t, sim)
	if o := s.addSecret(t, sim.Secrets(readerApp)[0], "--app", readerApp); o.code != terminal.ExitOK {
		t.Fatal(o.stderr)
	}
	s.must(t, "import", "--quiet", receiptsFile(t, sim))
	return sim
}

// fingerprintsHidden puts a word in the place of fingerprints in a table.
func fingerprintsHidden(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 5 && strings.HasSuffix(line, "\n") {
			if last := fields[len(fields)-1]; len(last) == 8 && strings.Trim(last, "0123456789abcdef") == "" {
				line = strings.Replace(line, last, "<print>", 1)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// TestSecretsAsJSON reads what scripts are given.
func TestSecretsAsJSON(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	s.openReader(t)
	var verdicts []appVerdict
	s.decode(t, &verdicts, "secrets", "verify", "--json")
	if len(verdicts) != 1 || verdicts[0].App != readerApp || len(verdicts[0].Secrets) != 1 || verdicts[0].Secrets[0].Result != "accepted" {
		t.Errorf("verify: got %+v, want the one secret accepted", verdicts)
	}
	var secrets []map[string]any
	s.decode(t, &secrets, "secrets", "list", "--json")
	if len(secrets) != 1 {
		t.Fatalf("list: got %d secrets, want one", len(secrets))
	}
	got := secrets[0]
	if got["id"] != 1.0 || got["kind"] != "app_specific" || got["bundle_id"] != readerApp || got["state"] != "accepted" ||
		got["last_refused"] != nil || got["readable"] != true {
		t.Errorf("list: got %v", got)
	}
	for _, key := range []string{"created_at", "last_accepted"} {
		if _, err := time.Parse(time.RFC3339, got[key].(string)); err != nil || !strings.HasSuffix(got[key].(string), "Z") {
			t.Errorf("%s: got %v, want RFC 3339 in UTC", key, got[key])
		}
	}
	if _, shown := got["ciphertext"]; shown {
		t.Error("the ciphertext is shown")
	}
	var changed map[string]any
	s.decode(t, &changed, "secrets", "retire", "1", "--yes", "--json")
	if changed["id"] != 1.0 || changed["result"] != "retired" {
		t.Errorf("retire: got %v", changed)
	}
}

// TestRetireTheLastAcceptedSecret is asked about, because nothing of its app could be
// checked.
func TestRetireTheLastAcceptedSecret(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	for _, secret := range []string{someSecret, otherSecret} {
		s.addSecret(t, secret, "--app", readerApp)
	}
	s.exec(t, `UPDATE shared_secrets SET state = 'accepted', last_accepted = now() WHERE id = 1`)
	s.exec(t, `UPDATE shared_secrets SET state = 'new' WHERE id = 2`)
	if o := s.run(t, "secrets", "retire", "1"); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "say --yes") {
		t.Errorf("exit code %d, want %d and to be asked:\n%s", o.code, terminal.ExitUsage, o.stderr)
	}
	s.must(t, "secrets", "retire", "2") // which nobody needs
	s.must(t, "secrets", "retire", "1", "--yes")
}

func (s *session) decode(t *testing.T, into any, args ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.must(t, args...).stdout), into); err != nil {
		t.Fatal(err)
	}
}

// TestSecretIDsThatAreNone does not repeat what may be a secret.
func TestSecretIDsThatAreNone(t *testing.T) {
	t.Parallel()
	s := &session{}
	for _, id := range []string{someSecret, "0", "-1", "x"} {
		for _, command := range []string{"retire", "remove"} {
			if o := s.run(t, "secrets", command, "--", id); o.code != terminal.ExitUsage {
				t.Errorf("%s %s: exit code %d, want %d", command, id, o.code, terminal.ExitUsage)
			}
		}
	}
	checkSilence(t, s, someSecret)
}

// TestWorkerRevivesApp has a worker run all the time: a wrong secret changes
// nothing, a right one puts the app back to work.
func TestWorkerRevivesApp(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	sim := s.openReader(t)
	sim.SetSecrets(readerApp, []string{someSecret})
	worker := s.start(t, nil, "worker")
	s.run(t, "run", "--quiet")
	worker.stderr.waitFor(t, "app paused")
	s.addSecret(t, otherSecret, "--app", readerApp)
	worker.stderr.waitFor(t, "shared secret refused, app stays paused.* secret_id=2")
	s.addSecret(t, someSecret, "--app", readerApp)
	worker.stderr.waitFor(t, "app resumed.* secret_id=3")
	if o := s.must(t, "run"); !strings.Contains(o.stdout, "8 succeeded") {
		t.Errorf("the run after it:\n%s", o.stdout)
	}
	if n := strings.Count(worker.stderr.text(), "level=ERROR"); n != 1 {
		t.Errorf("%d alarms, want one:\n%s", n, worker.stderr.text())
	}
}

// TestVerifyInAnOutage learns nothing of a secret while Apple is in trouble, and
// leaves the app as it is.
func TestVerifyInAnOutage(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	sim := s.openReader(t)
	s.exec(t, `UPDATE apps SET paused_at = now(), paused_code = '`+apps.PausedSecretRefused+`'`)
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultHTTP, Rate: 1, Status: 503}}); err != nil {
		t.Fatal(err)
	}
	var verdicts []appVerdict
	o := s.run(t, "secrets", "verify", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &verdicts); err != nil {
		t.Fatal(err)
	}
	if o.code != terminal.ExitFailures || len(verdicts) != 1 || verdicts[0].Resumed || verdicts[0].Error == "" || verdicts[0].Secrets[0].Result != "not_asked" {
		t.Errorf("exit code %d and %+v, want %d and nothing learnt", o.code, verdicts, terminal.ExitFailures)
	}
	if o := s.must(t, "apps", "list"); !strings.Contains(o.stdout, "paused") {
		t.Errorf("the app is at work:\n%s", o.stdout)
	}
}
