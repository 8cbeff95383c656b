package repository_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"revalidator/internal/claim"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// TestInstallation has two copies of one database, which hold the same id: they are
// two installations. One of them read twice is one.
func TestInstallation(t *testing.T) {
	t.Parallel()
	read := func(url secret.Value) (stored string, i repository.Installation) {
		db, err := repository.Open(repository.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if i, err = db.Installation(t.Context()); err != nil {
			t.Fatal(err)
		}
		direct, err := sqlx.Open("postgres", url.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = direct.Close() })
		if err := direct.GetContext(t.Context(), &stored, `SELECT id::text FROM installation`); err != nil {
			t.Fatal(err)
		}
		return stored, i
	}
	url := repositorytest.URL(t)
	stored, first := read(url)
	if _, again := read(url); again != first {
		t.Errorf("read again: got %+v, want %+v", again, first)
	}
	storedToo, second := read(repositorytest.URL(t))
	if stored != storedToo {
		t.Fatal("the databases of tests are no copies of each other any more")
	}
	if first.ID == second.ID {
		t.Error("a copied database is the same installation")
	}
	if len(first.ID) != 12 || strings.Contains(first.ID, stored[:8]) {
		t.Errorf("id: got %q, want 12 digits that stand for the stored id", first.ID)
	}
	if first.StartedAt.IsZero() || !first.StartedAt.Equal(second.StartedAt) || first.Address != second.Address {
		t.Errorf("servers of two databases: %+v and %+v, want the same one", first, second)
	}
}

// TestClaimsBefore finds claims by the time at which they were made, whatever the
// size of their receipts adds to their leases.
func TestClaimsBefore(t *testing.T) {
	f := open(t)
	f.receipts(app, 3)
	run := f.run()
	const lease = 15 * time.Minute
	claim := func(made time.Time, n int) []claim.Claim {
		claims, err := f.Claim(t.Context(), claim.Request{
			RunID: run.ID, Cutoff: run.Cutoff, Now: made, Until: made.Add(lease), Ahead: time.Hour, Limit: n, Due: noon,
		})
		f.must(err)
		if len(claims) != n {
			t.Fatalf("%d claims, want %d", len(claims), n)
		}
		return claims
	}
	early := claim(noon, 2)
	claim(noon.Add(10*time.Second), 1)
	for _, test := range []struct {
		before time.Duration
		limit  int
		want   int
	}{{0, 10, 0}, {time.Second, 10, 2}, {time.Second, 1, 1}, {11 * time.Second, 10, 3}} {
		got, err := f.ClaimsBefore(t.Context(), noon.Add(test.before), lease, test.limit)
		f.must(err)
		if len(got) != test.want {
			t.Errorf("before %s, at most %d: got %d claims, want %d", test.before, test.limit, len(got), test.want)
		}
		if test.want == 2 {
			for i := range got {
				got[i].DueAt, early[i].DueAt = time.Time{}, time.Time{}
			}
			if diff := cmp.Diff(early, got); diff != "" {
				t.Errorf("claims (-want +got)\n%s", diff)
			}
		}
	}
}
