package forecast

import (
	"fmt"
	"testing"
	"time"

	"revalidator/internal/iap"
)

// BenchmarkProject has as many receipts as the command looks at, a third of them
// with a failed payment.
func BenchmarkProject(b *testing.B) {
	receipts := make([]Receipt, 20_000)
	for i := range receipts {
		s := subscription(start.Add(time.Duration(i)*2*time.Minute), nil)
		if i%3 == 0 {
			s.Status, s.ExpiresDate = iap.StatusBillingRetry, start.Add(-time.Duration(i%50)*day)
		}
		receipts[i] = Receipt{
			ID: int64(i), Budget: production(fmt.Sprint("com.example.", i%5)), Rule: "first", Weight: 50,
			DueAt: start.Add(time.Duration(i) * 2 * time.Minute), Known: &iap.Conclusion{Subscriptions: []iap.Subscription{s}},
		}
	}
	rates := make(map[string]float64)
	for i := range 5 {
		rates[fmt.Sprint("com.example.", i)] = 50
	}
	for b.Loop() {
		Project(Config{Slots: nights(28, 8*time.Hour), Rates: rates, Plan: policy}, receipts)
	}
}
