package main

import (
	"database/sql"
	"strings"
	"testing"

	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

// TestKeyRotation changes the key in four steps. Keys are cut out of the
// transcript: they are printed on purpose.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	oldKeys := s.get("REVALIDATOR_KEYS")
	s.must(t, "apps", "add", readerApp)
	s.addSecret(t, someSecret, "--app", readerApp)
	s.addSecret(t, otherSecret, "--primary")

	newKeys := strings.TrimSpace(s.must(t, "keys", "extend").stdout)
	s.set("REVALIDATOR_KEYS", newKeys)
	if o := s.run(t, "keys", "prune"); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "keys rotate") {
		t.Errorf("prune before rotate: exit code %d and %q, want it refused", o.code, o.stderr)
	}
	var r rotation
	s.decode(t, &r, "keys", "rotate", "--json")
	if r.Encrypted != 2 || r.Already != 0 || len(r.Unreadable) != 0 {
		t.Errorf("rotate: %+v, want both encrypted again", r)
	}
	before := &session{env: append([]string{}, s.env...)}
	before.set("REVALIDATOR_KEYS", oldKeys)
	if o := before.run(t, "keys", "prune"); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "older key set") {
		t.Errorf("prune with the old set: exit code %d and %q, want it named", o.code, o.stderr)
	}
	if o := s.must(t, "keys", "rotate"); !strings.Contains(o.stdout, "0 shared secrets encrypted again, 2 had that key already") {
		t.Errorf("rotate once more: %q", o.stdout)
	}
	lastKeys := strings.TrimSpace(s.must(t, "keys", "prune").stdout)
	s.set("REVALIDATOR_KEYS", lastKeys)
	if got := s.readable(t); got != 2 {
		t.Errorf("the last keys open %d secrets, want 2", got)
	}
	s.set("REVALIDATOR_KEYS", oldKeys)
	if o := s.run(t, "worker"); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "encrypted with other keys") {
		t.Errorf("a worker with the old keys: exit code %d and %q, want it refused", o.code, o.stderr)
	}
	checkSilence(t, s, someSecret, otherSecret)
}

// readable is how many of the secrets the keys in use open.
func (s *session) readable(t *testing.T) (n int) {
	t.Helper()
	var secrets []report.Secret
	s.decode(t, &secrets, "secrets", "list", "--json")
	for _, secret := range secrets {
		if *secret.Readable {
			n++
		}
	}
	return n
}

// TestLostKeys replaces secrets that cannot be opened any more.
func TestLostKeys(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	s.addSecret(t, someSecret, "--app", readerApp)
	s.set("REVALIDATOR_KEYS", newKeys(t))
	if got := s.readable(t); got != 0 {
		t.Errorf("other keys open %d secrets", got)
	}
	if o := s.addSecret(t, someSecret, "--app", readerApp); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "remove the secrets [1]") {
		t.Errorf("add beside it: exit code %d and %q, want to be told what to do", o.code, o.stderr)
	}
	if o := s.run(t, "keys", "rotate"); o.code != terminal.ExitFailures || !strings.Contains(o.stderr, "shared secrets [1]") {
		t.Errorf("rotate: exit code %d and %q, want the secret named", o.code, o.stderr)
	}
	s.must(t, "secrets", "remove", "1")
	if o := s.addSecret(t, someSecret, "--app", readerApp); o.code != terminal.ExitOK {
		t.Errorf("add: %s", o.stderr)
	}
	if got := s.readable(t); got != 1 {
		t.Errorf("the new keys open %d secrets, want 1", got)
	}
}

// tamper changes the database behind the program's back.
func (s *session) tamper(t *testing.T, statement string) {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// TestTamperedSecrets has somebody change the database: what was altered or
// swapped does not open, and the rest goes on.
func TestTamperedSecrets(t *testing.T) {
	t.Parallel()
	const swap = `UPDATE shared_secrets a SET ciphertext = b.ciphertext FROM shared_secrets b WHERE a.id = 3 - b.id`
	for name, test := range map[string]struct {
		statement string
		readable  int
	}{
		"altered":            {`UPDATE shared_secrets SET ciphertext = set_byte(ciphertext, 9, 255 - get_byte(ciphertext, 9)) WHERE id = 1`, 1},
		"swapped":            {swap, 0},
		"given to all apps":  {`UPDATE shared_secrets SET bundle_id = NULL WHERE id = 1`, 1},
		"given another name": {`UPDATE shared_secrets SET id = 7 WHERE id = 1`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.must(t, "apps", "add", readerApp)
			s.addSecret(t, someSecret, "--app", readerApp)
			s.addSecret(t, otherSecret, "--primary")
			s.tamper(t, test.statement)
			if got := s.readable(t); got != test.readable {
				t.Errorf("%d secrets are readable, want %d", got, test.readable)
			}
			o := s.run(t, "run", "--worker")
			want, code := "do not open with these keys", terminal.ExitOK
			if test.readable == 0 {
				want, code = "encrypted with other keys", terminal.ExitUsage
			}
			if o.code != code || !strings.Contains(o.stderr, want) {
				t.Errorf("run: exit code %d and %q, want %d and %q", o.code, o.stderr, code, want)
			}
			checkSilence(t, s, someSecret, otherSecret)
		})
	}
}
