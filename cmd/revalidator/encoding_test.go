package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"revalidator/internal/dev/devstack/pgtest"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/terminal"
)

// TestMigrateRefusesOtherEncodings and says what to do.
func TestMigrateRefusesOtherEncodings(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("DATABASE_URL", pgtest.Encoded(t, "LATIN1"))
	o := s.run(t, "migrate")
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "LATIN1") || !strings.Contains(o.stderr, "createdb --template=template0 --encoding=UTF8") {
		t.Errorf("exit code %d, standard error %q; want it refused, with what to do", o.code, o.stderr)
	}
}

// TestImportIntoLatin1 rejects the line whose customer reference the database
// cannot keep, and imports the others.
func TestImportIntoLatin1(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.set("DATABASE_URL", repositorytest.Latin1URL(t).Reveal())
	sim := s.appStore(t, 6)
	s.must(t, "apps", "add", readerApp)
	s.must(t, "apps", "add", fitnessApp)
	var lines bytes.Buffer
	if err := sim.WriteReceipts(&lines, ""); err != nil {
		t.Fatal(err)
	}
	const ref = "customer-0000003"
	if strings.Count(lines.String(), ref) != 1 {
		t.Fatalf("no customer %s in the input", ref)
	}
	input := writeFile(t, "receipts.ndjson", strings.Replace(lines.String(), ref, "Zoë 😀", 1))
	o := s.run(t, "import", input)
	if o.code != terminal.ExitFailures || s.rows(t)["receipts"] != 5 {
		t.Errorf("exit code %d, %d receipts; want %d and 5\n%s", o.code, s.rows(t)["receipts"], terminal.ExitFailures, o.stderr)
	}
	rejects := readText(t, fmt.Sprint(input, ".rejects.ndjson"))
	if strings.Count(rejects, "\n") != 0 || !strings.Contains(rejects, `"reason":"not_stored"`) || !strings.Contains(rejects, "Zoë 😀") || !strings.Contains(rejects, "LATIN1") {
		t.Errorf("rejects: %s\nwant the one line, and why", rejects)
	}
}
