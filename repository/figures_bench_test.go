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
	"revalidator/repository"
)

// BenchmarkSaveFigures saves 250 checks at a time that change nothing but the
// receipts, and counts them in the figures of their app or not: the difference is
// what unusual quarantine costs.
func BenchmarkSaveFigures(b *testing.B) {
	for _, counted := range []bool{false, true} {
		b.Run(fmt.Sprintf("counted=%t", counted), func(b *testing.B) {
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
			const size = 250
			batch, outcomes := make([]iap.Receipt, size), make([]claim.Outcome, size)
			for i := range batch {
				batch[i] = iap.Receipt{BundleID: app, CustomerRef: fmt.Sprint(i), Kind: iap.KindAppReceipt, Data: fmt.Append(nil, i)}
				outcomes[i] = claim.Outcome{
					ReceiptID: int64(i + 1), BundleID: app, At: noon, Asked: true, State: iap.ReceiptValid, CountsChecked: counted,
					NextCheck: iap.Check{At: noon.Add(time.Hour), Rule: iap.RuleRenewal},
				}
			}
			_, err = db.AddReceipts(b.Context(), batch, noon)
			must(err)
			for b.Loop() {
				b.StopTimer()
				sql.MustExecContext(b.Context(), `UPDATE receipts SET claimed_until = 'infinity'`)
				b.StartTimer()
				_, err := db.SaveOutcomes(b.Context(), outcomes)
				must(err)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/receipt")
		})
	}
}
