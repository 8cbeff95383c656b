package iap_test

import (
	"strconv"
	"testing"
	"time"

	"revalidator/internal/iap"
)

// renewed is what a reply says of a subscription with so many periods, each of
// them in both lists.
func renewed(periods int) *iap.Facts {
	f := &iap.Facts{AsOf: now, Environment: iap.Production, BundleID: "com.example.reader"}
	for i := range periods {
		start := now.Add(time.Duration(i-periods) * 30 * 24 * time.Hour)
		t := iap.Transaction{
			TransactionID: strconv.Itoa(2_000_000_000_000_000 + i), OriginalTransactionID: "2000000000000000",
			ProductID: "com.example.reader.monthly", Quantity: 1,
			PurchaseDate: start, ExpiresDate: start.Add(30 * 24 * time.Hour), InAppOwnershipType: iap.OwnershipPurchased,
		}
		f.AddTransaction(t, iap.ListReceipt)
		f.AddTransaction(t, iap.ListLatest)
	}
	return f
}

func BenchmarkAddTransactions(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		renewed(20)
	}
}

func BenchmarkDeriveSmall(b *testing.B) { benchmarkDerive(b, 20) }

func BenchmarkDeriveLarge(b *testing.B) { benchmarkDerive(b, 5500) }

func benchmarkDerive(b *testing.B, periods int) {
	b.Helper()
	f := renewed(periods)
	b.ReportAllocs()
	for b.Loop() {
		if c := iap.Derive(f); len(c.Subscriptions) != 1 {
			b.Fatalf("derived %d subscriptions", len(c.Subscriptions))
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	c, policy := iap.Derive(renewed(20)), iap.DefaultPolicy()
	b.ReportAllocs()
	for b.Loop() {
		policy.Plan(c, now, 42)
	}
}
