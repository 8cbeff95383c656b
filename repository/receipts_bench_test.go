package repository_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"revalidator/internal/apps"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/repository"
)

// BenchmarkAddReceipts stores batches of 250 receipts of 8 KB.
func BenchmarkAddReceipts(b *testing.B) {
	const rows, size = 250, 8561
	db, err := repository.Open(repository.Config{URL: repositorytest.URL(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.AddApp(b.Context(), apps.App{BundleID: app, RatePerSecond: 1, Burst: 1, CreatedAt: noon}); err != nil {
		b.Fatal(err)
	}
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	batch := make([]iap.Receipt, rows)
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			data := append([]byte(nil), noise...)
			n++
			binary.BigEndian.PutUint64(data, n)
			batch[i] = iap.Receipt{BundleID: app, CustomerRef: "customer", Kind: iap.KindAppReceipt, Data: data}
		}
		if _, err := db.AddReceipts(b.Context(), batch, noon); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "receipts/s")
}
