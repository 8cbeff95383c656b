package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"revalidator/internal/terminal"
)

// fullDisk takes so many bytes and no more.
type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if n := min(len(b), d.left); n < len(b) {
		d.left = 0
		return n, syscall.ENOSPC
	}
	d.left -= len(b)
	return len(b), nil
}

// TestResultsOnAFullDisk has standard output end early: no command takes that
// for success.
func TestResultsOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 4)
	s.must(t, "run", "--worker")
	for _, line := range []string{
		"apps list", "secrets list", "secrets verify", "check " + receiptFile(t, sim, 0), "check --receipt 1 --json",
		"explain 1", "explain 1 --json", "receipts list", "receipts show 1", "receipts recheck 1", "status", "status 1",
		"status --json", "doctor --offline", "backfill --all --dry-run", "backfill list", "keys generate", "version", "migrate", "run --worker",
	} {
		for _, left := range []int{0, 10} {
			var stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(line), strings.NewReader(""), &fullDisk{left}, &stderr, s.env)
			if code != terminal.ExitFailure || !strings.Contains(stderr.String(), syscall.ENOSPC.Error()) {
				t.Errorf("%s: with room for %d bytes: exit code %d and %q", line, left, code, stderr.String())
			}
		}
	}
}
