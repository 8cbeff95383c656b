package devstack

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSweep(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	owned, err := newFolder(parent, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"devpg-old/data", "devpg-new", "another"} {
		if err := os.MkdirAll(filepath.Join(parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, "devpg-old", "data", "postmaster.pid"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * sweepAfter)
	for _, path := range []string{owned.path, filepath.Join(parent, "devpg-old"), filepath.Join(parent, "another")} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}

	sweep(parent, slog.New(slog.DiscardHandler))
	want := []string{"another", "devpg-new", filepath.Base(owned.path)}
	if diff := cmp.Diff(want, names(t, parent)); diff != "" {
		t.Errorf("folders while the owner lives (-want +got):\n%s", diff)
	}

	// The kernel does this when the owner dies.
	if err := owned.lock.Close(); err != nil {
		t.Fatal(err)
	}
	// A program that a test next to this one starts holds the lock too, from its
	// fork to its exec.
	var diff string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		sweep(parent, slog.New(slog.DiscardHandler))
		if diff = cmp.Diff([]string{"another", "devpg-new"}, names(t, parent)); diff == "" {
			return
		}
	}
	t.Errorf("folders after its death (-want +got):\n%s", diff)
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	// devpg-new sorts behind the digits that MkdirTemp appends.
	if len(names) == 3 && names[1] != "devpg-new" {
		names[1], names[2] = names[2], names[1]
	}
	return names
}
