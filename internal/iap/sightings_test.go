package iap_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"revalidator/internal/iap"
)

// TestFactsKeepWhatTheyAreTold holds the packed form of transactions to losing
// nothing, whatever ids look like.
func TestFactsKeepWhatTheyAreTold(t *testing.T) {
	t.Parallel()
	anyID := rapid.OneOf(
		rapid.StringMatching(`[0-9]{1,24}`), rapid.StringMatching(`[a-z0-9-]{1,8}`),
		rapid.SampledFrom([]string{"0", "00", "01", "+1", "-1", "9223372036854775807", "9223372036854775808", "1_0"}),
	)
	anyTime := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return time.UnixMilli(rapid.Int64Range(-1, 253402300799999).Draw(t, "ms")).UTC()
	})
	text := rapid.SampledFrom([]string{"", "a", "b", "com.example.monthly"})
	anyTransaction := rapid.Custom(func(t *rapid.T) iap.Transaction {
		return iap.Transaction{
			TransactionID: anyID.Draw(t, "id"), OriginalTransactionID: anyID.Draw(t, "original"),
			ProductID: text.Draw(t, "product"), SubscriptionGroupIdentifier: text.Draw(t, "group"),
			Quantity:     rapid.IntRange(0, 1<<31-1).Draw(t, "quantity"),
			PurchaseDate: anyTime.Draw(t, "bought"), OriginalPurchaseDate: anyTime.Draw(t, "first bought"),
			ExpiresDate: anyTime.Draw(t, "expires"), CancellationDate: anyTime.Draw(t, "cancelled"),
			CancellationReason: text.Draw(t, "reason"), IsTrialPeriod: rapid.Bool().Draw(t, "trial"),
			IsInIntroOfferPeriod: rapid.Bool().Draw(t, "intro"), IsUpgraded: rapid.Bool().Draw(t, "upgraded"),
			InAppOwnershipType: iap.OwnershipType(text.Draw(t, "ownership")), PromotionalOfferID: text.Draw(t, "promotion"),
			OfferCodeRefName: text.Draw(t, "offer"), AppAccountToken: text.Draw(t, "token"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		id := func(t iap.Transaction) string { return t.TransactionID }
		want := rapid.SliceOfNDistinct(anyTransaction, 0, 600, id).Draw(t, "transactions")
		var f iap.Facts
		byID := make(map[string]iap.Transaction)
		for _, transaction := range want {
			f.AddTransaction(transaction, iap.List(rapid.IntRange(0, 1).Draw(t, "list")))
			byID[transaction.TransactionID] = transaction
		}
		got := f.Transactions()
		for i, transaction := range got {
			if i > 0 && got[i-1].TransactionID >= transaction.TransactionID {
				t.Fatalf("%q comes before %q", got[i-1].TransactionID, transaction.TransactionID)
			}
			if diff := cmp.Diff(byID[transaction.TransactionID], transaction); diff != "" {
				t.Fatalf("transaction (-want +got)\n%s", diff)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("got %d transactions, want %d", len(got), len(want))
		}
	})
}
