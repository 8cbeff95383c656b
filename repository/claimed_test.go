package repository_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/claim"
	"revalidator/internal/dev/repositorytest"
	"revalidator/repository"
)

// openBeside is open, with a connection that speaks SQL beside it.
func openBeside(t *testing.T) (fixture, *sqlx.DB) {
	t.Helper()
	t.Parallel()
	url := repositorytest.URL(t)
	db, err := repository.Open(repository.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	sql, err := sqlx.Open("postgres", url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = db.Close(), sql.Close() })
	f := fixture{db, t}
	f.addApp(app, 1000)
	return f, sql
}

// TestClaimedReceiptsAreLoadedTogether has one query for claims that are held,
// lost, and never were.
func TestClaimedReceiptsAreLoadedTogether(t *testing.T) {
	f := open(t)
	f.receipts(app, 3)
	claims := f.claim(f.run(), 3)
	held := claim.Key{ReceiptID: claims[0].ReceiptID, Generation: claims[0].Generation}
	lost := claim.Key{ReceiptID: claims[1].ReceiptID, Generation: claims[1].Generation}
	f.save(claim.Outcome{ReceiptID: lost.ReceiptID, Generation: lost.Generation, At: noon})
	older := claim.Key{ReceiptID: claims[2].ReceiptID, Generation: claims[2].Generation - 1}
	unknown := claim.Key{ReceiptID: 1 << 40, Generation: 1}

	got, err := f.ClaimedReceipts(t.Context(), []claim.Key{lost, held, older, unknown, held})
	f.must(err)
	r, ok := got[held]
	if len(got) != 1 || !ok {
		t.Fatalf("loaded %d receipts, want the one that is held", len(got))
	}
	if int64(len(r.Data)) != r.ByteSize || r.ByteSize == 0 {
		t.Errorf("its %d bytes did not come along: got %d", r.ByteSize, len(r.Data))
	}
}

// TestLookAtOneReceiptIsNotALookAtAllClaims holds the plan to the primary key
// where claims are new to Postgres, which then takes their index for empty.
func TestLookAtOneReceiptIsNotALookAtAllClaims(t *testing.T) {
	f, sql := openBeside(t)
	f.receipts(app, 2000)
	sql.MustExecContext(t.Context(), `VACUUM ANALYZE receipts`)
	f.claim(f.run(), 2000)
	var plan []string
	f.must(sql.SelectContext(t.Context(), &plan, `EXPLAIN SELECT id FROM receipts r
		WHERE r.id = 7 AND r.generation = 1 AND coalesce(r.claimed_until, '-infinity') > '-infinity'`))
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "receipts_pkey") {
		t.Errorf("plan:\n%s", text)
	}
}

// TestClaimsLastLongerForLargeReceipts compares leases.
func TestClaimsLastLongerForLargeReceipts(t *testing.T) {
	f, sql := openBeside(t)
	f.receipts(app, 2)
	sql.MustExecContext(t.Context(), `UPDATE receipts SET byte_size = 2200000 WHERE id = (SELECT max(id) FROM receipts)`)
	claims := f.claim(f.run(), 2)
	var until []time.Time
	f.must(sql.SelectContext(t.Context(), &until, `SELECT claimed_until FROM receipts ORDER BY byte_size`))
	if got, want := until[1].Sub(until[0]), claim.Allowance(2_200_000); len(claims) != 2 || got != want {
		t.Errorf("the large one has %s more, want %s", got, want)
	}
}

// TestClaimsFromATimeOn looks for those of one app from a moment on, the moment
// included, and for all of another.
func TestClaimsFromATimeOn(t *testing.T) {
	f, sql := openBeside(t)
	const other = "com.example.fitness"
	f.addApp(other, 1000)
	f.receipts(app, 3)
	f.receipts(other, 3)
	sql.MustExecContext(t.Context(), `UPDATE receipts SET next_check_at = $1::timestamptz - make_interval(secs => (id % 3)::int)`, noon)
	run := f.run()
	for name, test := range map[string]struct {
		since map[string]time.Time
		want  int
	}{
		"none claimed before": {nil, 6},
		"from the middle":     {map[string]time.Time{app: noon.Add(-time.Second)}, 2 + 3},
		"from the last":       {map[string]time.Time{app: noon, other: noon}, 1 + 1},
		"after the last":      {map[string]time.Time{app: noon.Add(time.Second), other: noon.Add(time.Second)}, 0},
	} {
		claims, err := f.Claim(t.Context(), claim.Request{
			RunID: run.ID, Cutoff: run.Cutoff, Now: noon, Until: noon.Add(time.Minute), Ahead: time.Minute, Limit: 100, Since: test.since,
		})
		f.must(err)
		if len(claims) != test.want {
			t.Errorf("%s: claimed %d, want %d", name, len(claims), test.want)
		}
		_, err = f.ReleaseExpired(t.Context(), noon.Add(time.Hour))
		f.must(err)
	}
}
