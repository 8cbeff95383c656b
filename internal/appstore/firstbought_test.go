package appstore_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"revalidator/internal/iap"
)

// dated is a record of a reply as far as it says when a subscription was bought.
type dated struct {
	Original string `json:"original_transaction_id"`
	MS       string `json:"original_purchase_date_ms"`
}

// TestFirstBoughtCorpus compares when subscriptions were first bought with the
// earliest date that any record of a recorded reply gives. Some give fourteen
// different ones for one subscription.
func TestFirstBoughtCorpus(t *testing.T) {
	t.Parallel()
	for _, r := range corpus(t) {
		var body struct {
			Receipt struct {
				InApp []dated `json:"in_app"`
			} `json:"receipt"`
			Latest []dated `json:"latest_receipt_info"`
		}
		if json.Unmarshal(r.body, &body) != nil {
			continue // an iOS 6 style reply, or one of another shape
		}
		earliest := make(map[string]int64)
		for _, d := range append(body.Receipt.InApp, body.Latest...) {
			ms, err := strconv.ParseInt(d.MS, 10, 64)
			if err != nil {
				continue
			}
			if known, ok := earliest[d.Original]; !ok || ms < known {
				earliest[d.Original] = ms
			}
		}
		for _, s := range iap.Derive(told(t, r.body)).Subscriptions {
			if want, ok := earliest[s.OriginalTransactionID]; ok && s.OriginalPurchaseDate.UnixMilli() != want {
				t.Errorf("%s: subscription %s first bought %d, want %d", r.file, s.OriginalTransactionID, s.OriginalPurchaseDate.UnixMilli(), want)
			}
		}
	}
}
