package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/terminal"
)

// TestAppsRemove removes an app: not while it has receipts, then with all of them.
func TestAppsRemove(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	before := s.rows(t)
	if o := s.run(t, "apps", "remove", readerApp); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "--with-receipts removes them too") {
		t.Errorf("with receipts: got exit code %d and %q", o.code, o.stderr)
	}
	if o := s.run(t, "apps", "remove", readerApp, "--with-receipts"); o.code != terminal.ExitUsage {
		t.Errorf("without a terminal to confirm on: got exit code %d, want %d", o.code, terminal.ExitUsage)
	}
	if diff := cmp.Diff(before, s.rows(t)); diff != "" {
		t.Fatalf("rows after refusals (-before +after)\n%s", diff)
	}
	var removed removedApp
	o := s.must(t, "apps", "remove", readerApp, "--with-receipts", "--yes", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &removed); err != nil {
		t.Fatal(err)
	}
	others := 1 // of the other app, with its secret
	if want := (removedApp{readerApp, int64(len(stories()) - others)}); removed != want {
		t.Errorf("got %+v, want %+v", removed, want)
	}
	after := s.rows(t)
	for table, want := range map[string]int{
		"receipts": others, "apps": others, "shared_secrets": others,
		"subscriptions": 0, "purchases": 0, "subscription_events": 0,
	} {
		if after[table] != want {
			t.Errorf("%s: %d rows are left, want %d", table, after[table], want)
		}
	}
	if o := s.run(t, "apps", "remove", readerApp); o.code != terminal.ExitFailure {
		t.Errorf("an app that is gone: got exit code %d, want %d", o.code, terminal.ExitFailure)
	}
}
