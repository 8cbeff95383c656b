package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"revalidator/internal/dev/devstack"
	"revalidator/internal/terminal"
)

// TestImportRejectsOnAFullDisk cannot write down what it refuses, and must not
// go on as if it had.
func TestImportRejectsOnAFullDisk(t *testing.T) {
	t.Parallel()
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("this system has no device that is always full")
	}
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	o := s.runWith(t, "{}\n", "import", "-", "--rejects", full)
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, full) || !strings.Contains(o.stderr, "no space left") ||
		!strings.Contains(o.stderr, "import the file again for the rest") {
		t.Errorf("exit code %d, standard error %q; want a failure that names the file and what to do", o.code, o.stderr)
	}
}

// then is a reader that does something and ends.
type then func()

func (f then) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// TestImportOutlivesPostgres loses the database in the middle, and says what is
// done; started again it does the rest.
func TestImportOutlivesPostgres(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.appStore(t, 3)
	var lines bytes.Buffer
	if err := sim.WriteReceipts(&lines, ""); err != nil {
		t.Fatal(err)
	}
	lasting := s.get("DATABASE_URL")
	postgres, err := devstack.StartPostgres(t.Context(), devstack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.set("DATABASE_URL", postgres.URL)
	s.must(t, "migrate")
	s.must(t, "apps", "add", readerApp)
	s.must(t, "apps", "add", fitnessApp)
	die := then(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	p := s.start(t, io.MultiReader(strings.NewReader(lines.String()), die), "import", "-")
	<-p.ended
	if got := p.stderr.text(); p.code != terminal.ExitFailure || !strings.Contains(got, "lines up to 0 are imported: import the file again for the rest") {
		t.Errorf("exit code %d, standard error %q; want a failure that says what is done", p.code, got)
	}

	s.set("DATABASE_URL", lasting)
	s.must(t, "apps", "add", readerApp)
	s.must(t, "apps", "add", fitnessApp)
	if o := s.runWith(t, lines.String(), "import", "-"); o.code != terminal.ExitOK || s.rows(t)["receipts"] != 3 {
		t.Errorf("again: exit code %d, %d receipts, standard error %q", o.code, s.rows(t)["receipts"], o.stderr)
	}
}

// TestImportRejectsByAnotherName must not write over the file that it reads.
func TestImportRejectsByAnotherName(t *testing.T) {
	t.Parallel()
	const lines = "not a receipt\n"
	for name, link := range map[string]func(string, string) error{"symlink": os.Symlink, "hard link": os.Link} {
		s := &session{}
		input := writeFile(t, "receipts.ndjson", lines)
		other := filepath.Join(filepath.Dir(input), "other.ndjson")
		if err := link(input, other); err != nil {
			t.Fatal(err)
		}
		if o := s.run(t, "import", input, "--rejects", other); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "would be lost") {
			t.Errorf("%s: exit code %d and %q, want it refused", name, o.code, o.stderr)
		}
		if got := readText(t, input); got != strings.TrimSpace(lines) {
			t.Errorf("%s: the input is %q now", name, got)
		}
	}
}

// TestImportRejectsFollowNoLink must not overwrite what a planted link points to,
// and keeps the file from others, also one that was there and open to them.
func TestImportRejectsFollowNoLink(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	input := writeFile(t, "receipts.ndjson", "not a receipt\n")
	rejects, target := input+".rejects.ndjson", writeFile(t, "target", "precious")
	for name, to := range map[string]string{"a file": target, "nothing": target + ".new"} {
		if err := os.Symlink(to, rejects); err != nil {
			t.Fatal(err)
		}
		if o := s.run(t, "import", input); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "symbolic link") {
			t.Errorf("a link to %s: exit code %d and %q, want it refused", name, o.code, o.stderr)
		}
		if _, err := terminal.OpenRejects(rejects); err == nil {
			t.Errorf("a link to %s that came later was opened", name)
		}
		if err := os.Remove(rejects); err != nil {
			t.Fatal(err)
		}
	}
	if got := readText(t, target); got != "precious" {
		t.Errorf("the target is %q now", got)
	}
	if _, err := os.Stat(target + ".new"); err == nil {
		t.Error("a target was made")
	}

	for _, name := range []string{"new", "open to others"} {
		if o := s.run(t, "import", input); o.code != terminal.ExitFailures {
			t.Errorf("%s: exit code %d and %q", name, o.code, o.stderr)
		}
		info, err := os.Stat(rejects)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s: mode %o, want 600", name, got)
		}
		if got := strings.Count(readText(t, rejects), "not a receipt"); got != 1 {
			t.Errorf("%s: the line is there %d times", name, got)
		}
		if err := os.Chmod(rejects, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImportRejectsToADevice is a link that overwrites nothing.
func TestImportRejectsToADevice(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	file, err := terminal.OpenRejects(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
