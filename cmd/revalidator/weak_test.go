//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"revalidator/internal/report"
)

// TestWeakSetUp has a keys file that everybody can read: the start and doctor say so.
// A service leaves no core dump.
func TestWeakSetUp(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(s.get("REVALIDATOR_KEYS")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	s.set("REVALIDATOR_KEYS", "")
	s.set("REVALIDATOR_KEYS_FILE", file)
	s.start(t, nil, "worker").stderr.waitFor(t, `level=WARN msg="weak set-up" setting=REVALIDATOR_KEYS_FILE problem="every user of this machine can read`)
	if o, states := s.examined(t, "--offline"); states["settings"] != string(report.Warning) || !strings.Contains(o.stdout, "chmod o-rwx") {
		t.Errorf("doctor: got %q, want a warning and what to do:\n%s", states["settings"], o.stdout)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 {
		t.Errorf("core dumps: limit %d (%v), want 0", limit.Cur, err)
	}
}
