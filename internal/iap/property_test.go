package iap_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"revalidator/internal/iap"
)

// record is one thing that a reply says.
type record struct {
	transaction iap.Transaction
	list        iap.List
	renewal     *iap.RenewalInfo
}

func anyTime(t *rapid.T, name string) time.Time {
	return now.Add(time.Duration(rapid.IntRange(-80, 80).Draw(t, name)) * day / 2)
}

func maybe(t *rapid.T, name string, at time.Time) time.Time {
	if rapid.Bool().Draw(t, name) {
		return at
	}
	return time.Time{}
}

func anyFlag(t *rapid.T, name string) *bool {
	return rapid.SampledFrom([]*bool{nil, new(false), new(true)}).Draw(t, name)
}

// anyRecord draws from few ids, so that records meet.
func anyRecord(t *rapid.T) record {
	id := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "original id")
	productID := rapid.SampledFrom([]string{"monthly", "yearly"}).Draw(t, "product")
	if rapid.Bool().Draw(t, "renewal") {
		return record{renewal: &iap.RenewalInfo{
			OriginalTransactionID:  rapid.SampledFrom([]string{id, ""}).Draw(t, "names its subscription"),
			ProductID:              rapid.SampledFrom([]string{productID, ""}).Draw(t, "names the product that runs"),
			AutoRenewProductID:     productID,
			AutoRenewStatus:        anyFlag(t, "renews"),
			IsInBillingRetryPeriod: anyFlag(t, "in retry"),
			PriceConsentStatus:     rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "consent"),
			PriceIncreaseStatus:    rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "increase"),
			GracePeriodExpiresDate: maybe(t, "has grace", anyTime(t, "grace")),
			ExpirationIntent:       iap.ExpirationIntent(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "intent")),
		}}
	}
	return record{
		list: rapid.SampledFrom([]iap.List{iap.ListReceipt, iap.ListLatest}).Draw(t, "list"),
		transaction: iap.Transaction{
			TransactionID:         id + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id"),
			OriginalTransactionID: rapid.SampledFrom([]string{id, ""}).Draw(t, "names its original"),
			ProductID:             rapid.SampledFrom([]string{productID, ""}).Draw(t, "names its product"),
			OfferCodeRefName:      rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "offer"),
			PurchaseDate:          anyTime(t, "purchase"),
			ExpiresDate:           maybe(t, "is subscription", anyTime(t, "expires")),
			CancellationDate:      maybe(t, "is cancelled", anyTime(t, "cancelled")),
			IsUpgraded:            rapid.Bool().Draw(t, "upgraded"),
		},
	}
}

func derive(records []record) iap.Conclusion {
	f := &iap.Facts{AsOf: now, Environment: iap.Production, BundleID: "com.example.reader"}
	for _, r := range records {
		if r.renewal != nil {
			f.AddRenewalInfo(*r.renewal)
			continue
		}
		f.AddTransaction(r.transaction, r.list)
	}
	return iap.Derive(f)
}

func TestOrderOfRecordsNeverMatters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(anyRecord), 0, 12).Draw(t, "records")
		shuffled := rapid.Permutation(records).Draw(t, "shuffled")
		if diff := cmp.Diff(derive(records), derive(shuffled)); diff != "" {
			t.Fatalf("(-first +shuffled)\n%s", diff)
		}
	})
}

func TestSameRecordsTwiceAreTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(anyRecord), 0, 12).Draw(t, "records")
		if diff := cmp.Diff(derive(records), derive(append(records, records...))); diff != "" {
			t.Fatalf("(-once +twice)\n%s", diff)
		}
	})
}

// TestOlderRecordChangesNothing adds to each subscription a period that was over
// long before all others. What Derive says of one that only has upgraded periods
// is left aside: any other period says more.
func TestOlderRecordChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(anyRecord), 0, 12).Draw(t, "records")
		want := derive(records)
		for _, s := range want.Subscriptions {
			if s.IsUpgraded {
				return
			}
			// The first record of what is true now would change what the
			// receipt's word is worth.
			list := iap.ListReceipt
			if len(s.Revocations) == 0 {
				list = rapid.SampledFrom([]iap.List{iap.ListReceipt, iap.ListLatest}).Draw(t, "old list")
			}
			records = append(records, record{
				list: list,
				transaction: iap.Transaction{
					TransactionID: s.OriginalTransactionID + "old", OriginalTransactionID: s.OriginalTransactionID, ProductID: "weekly",
					PurchaseDate: now.Add(-400 * day), ExpiresDate: now.Add(-393 * day), IsUpgraded: rapid.Bool().Draw(t, "old upgraded"),
				},
			})
		}
		if diff := cmp.Diff(want, derive(records), stored); diff != "" {
			t.Fatalf("(-without +with)\n%s", diff)
		}
	})
}

func TestStatusIsAlwaysOneOfFive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for _, s := range derive(rapid.SliceOfN(rapid.Custom(anyRecord), 0, 12).Draw(t, "records")).Subscriptions {
			if err := s.Status.Validate(); err != nil {
				t.Fatal(err)
			}
			if s.Status == iap.StatusActive && !s.ExpiresDate.After(now) {
				t.Fatalf("active, but expired at %s", s.ExpiresDate)
			}
			if (s.Status == iap.StatusRevoked) != !s.RevocationDate.IsZero() {
				t.Fatalf("status %s with revocation date %s", s.Status, s.RevocationDate)
			}
		}
	})
}
