package repository_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// BenchmarkClaim claims 100 of 20,000 due receipts at a time.
func BenchmarkClaim(b *testing.B) {
	url := repositorytest.URL(b)
	db, err := repository.Open(repository.Config{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	sql := sqlx.MustOpen("postgres", url.Reveal())
	b.Cleanup(func() { _, _ = db.Close(), sql.Close() })
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(db.AddApp(b.Context(), apps.App{BundleID: app, RatePerSecond: 1e6, Burst: 1, CreatedAt: noon}))
	batch := make([]iap.Receipt, 20_000)
	for i := range batch {
		batch[i] = iap.Receipt{BundleID: app, CustomerRef: fmt.Sprint(i), Kind: iap.KindAppReceipt, Data: fmt.Append(nil, i)}
	}
	_, err = db.AddReceipts(b.Context(), batch, noon)
	must(err)
	run, err := db.OpenRun(b.Context(), runs.Run{Kind: runs.Manual, ScheduledFor: noon, Cutoff: noon, Deadline: noon.Add(time.Hour)},
		runs.Lease{Owner: "bench", Until: noon.Add(time.Hour)}, noon)
	must(err)
	claimed := 0
	b.ReportAllocs()
	for b.Loop() {
		claims, err := db.Claim(b.Context(), claim.Request{
			RunID: run.ID, Cutoff: noon, Now: noon, Until: noon.Add(time.Minute), Ahead: time.Minute, Share: 1, Limit: 100,
		})
		must(err)
		if claimed += len(claims); len(claims) == 0 {
			b.StopTimer()
			sql.MustExecContext(b.Context(), `UPDATE receipts SET claimed_until = NULL, run_id = NULL`)
			sql.MustExecContext(b.Context(), `VACUUM ANALYZE receipts`)
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(claimed)/b.Elapsed().Seconds(), "receipts/s")
}
