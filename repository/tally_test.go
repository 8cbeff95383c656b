package repository_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// TestTally counts a few receipts, then more than are counted.
func TestTally(t *testing.T) {
	t.Parallel()
	url := repositorytest.URL(t)
	db, raw := openBoth(t, url)
	exec := func(query string) {
		t.Helper()
		if _, err := raw.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	const add = `
		INSERT INTO receipts (bundle_id, customer_ref, kind, sha256, byte_size, state, next_check_at, next_check_rule, created_at)
		SELECT 'com.example.reader', n, 'app_receipt', sha256(n::text::bytea), 1, CASE WHEN n % 4 = 0 THEN 'new' ELSE 'valid' END,
		       '2026-03-01'::timestamptz + n * interval '1 s', 'new', now()
		FROM generate_series(`
	exec(`ALTER TABLE receipts SET (autovacuum_enabled = false)`)
	exec(`INSERT INTO apps (bundle_id, created_at) VALUES ('com.example.reader', now())`)
	exec(add + `1, 8) n`)
	tally := func() repository.Tally {
		t.Helper()
		got, err := db.ReceiptsByState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(repository.Tally{Counts: map[string]int64{"new": 2, "valid": 6}}, tally()); diff != "" {
		t.Errorf("few receipts (-want +got):\n%s", diff)
	}
	exec(add + `9, 120000) n`)
	if diff := cmp.Diff(repository.Tally{Counts: map[string]int64{"new": 30_000, "valid": 90_000}}, tally()); diff != "" {
		t.Errorf("many receipts that were never analyzed (-want +got):\n%s", diff)
	}
	exec(`ANALYZE receipts`)
	got := tally()
	if !got.Estimated || got.EstimatedAt == nil || time.Since(*got.EstimatedAt).Abs() > time.Hour {
		t.Errorf("estimated %v at %v, want an estimate of now", got.Estimated, got.EstimatedAt)
	}
	for state, want := range map[string]int64{"new": 30_000, "valid": 90_000} {
		if n := got.Counts[state]; n < want*9/10 || n > want*11/10 {
			t.Errorf("%s: got %d, want about %d", state, n, want)
		}
	}
	testDue(t, db)
}

// testDue looks at 120,000 receipts, one of which falls due each second.
func testDue(t *testing.T, db *repository.DB) {
	t.Helper()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	oldest := start.Add(time.Second)
	tests := []struct {
		name string
		at   time.Time
		want repository.Due
	}{
		{"none", start, repository.Due{}},
		{"one", oldest, repository.Due{Receipts: 1, Oldest: &oldest}},
		{"as many as are counted", start.Add(100_000 * time.Second), repository.Due{Receipts: 100_000, Oldest: &oldest}},
		{"all", start.Add(200_000 * time.Second), repository.Due{Receipts: 100_000, More: true, Oldest: &oldest}},
	}
	for _, test := range tests {
		got, err := db.Due(t.Context(), test.at, false)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: due (-want +got):\n%s", test.name, diff)
		}
		paused, err := db.Due(t.Context(), test.at, true)
		if err != nil || paused != (repository.Due{}) {
			t.Errorf("%s: of paused apps %+v and %v, want nothing", test.name, paused, err)
		}
	}
}

// openBoth opens a database through the repository, and next to it.
func openBoth(t *testing.T, url secret.Value) (*repository.DB, *sql.DB) {
	t.Helper()
	db, err := repository.Open(repository.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	raw, err := sql.Open("postgres", url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return db, raw
}
