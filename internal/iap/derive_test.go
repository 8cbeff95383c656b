package iap_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/iap"
)

// now is Apple's time of the facts in every test here.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// stored leaves out of a comparison what is not stored.
var stored = cmp.Options{cmpopts.IgnoreTypes(iap.Evidence{}, iap.Groups(0)), cmpopts.IgnoreFields(iap.Purchase{}, "Stale")}

// period is a monthly period of the subscription "1" that ends at an offset
// from now.
func period(id string, end time.Duration, change ...func(*iap.Transaction)) iap.Transaction {
	t := iap.Transaction{
		TransactionID: id, OriginalTransactionID: "1", ProductID: "monthly",
		PurchaseDate: now.Add(end - 30*day), ExpiresDate: now.Add(end),
	}
	for _, c := range change {
		c(&t)
	}
	return t
}

func refunded(ago time.Duration) func(*iap.Transaction) {
	return func(t *iap.Transaction) {
		t.CancellationDate, t.CancellationReason = now.Add(-ago), "0"
	}
}

// boughtAgo is for a period that is longer than a month.
func boughtAgo(days time.Duration) func(*iap.Transaction) {
	return func(t *iap.Transaction) { t.PurchaseDate = now.Add(-days * day) }
}

func upgraded(t *iap.Transaction) { t.IsUpgraded = true }

func product(id string) func(*iap.Transaction) {
	return func(t *iap.Transaction) { t.ProductID = id }
}

func renewal(change ...func(*iap.RenewalInfo)) iap.RenewalInfo {
	r := iap.RenewalInfo{OriginalTransactionID: "1", ProductID: "monthly", AutoRenewProductID: "monthly", AutoRenewStatus: new(true)}
	for _, c := range change {
		c(&r)
	}
	return r
}

func inRetry(r *iap.RenewalInfo) { r.IsInBillingRetryPeriod = new(true) }

func graceUntil(end time.Duration) func(*iap.RenewalInfo) {
	return func(r *iap.RenewalInfo) { r.GracePeriodExpiresDate = now.Add(end) }
}

func facts(records ...any) *iap.Facts {
	f := &iap.Facts{AsOf: now, Environment: iap.Production, BundleID: "com.example.reader"}
	for _, r := range records {
		switch r := r.(type) {
		case iap.Transaction:
			f.AddTransaction(r, iap.ListLatest)
		case iap.RenewalInfo:
			f.AddRenewalInfo(r)
		}
	}
	return f
}

func TestDeriveStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		facts           *iap.Facts
		want            iap.Status
		wantTransaction string
	}{
		{"active", facts(period("1", -20*day), period("2", 10*day), renewal()), iap.StatusActive, "2"},
		{"active, renewal turned off is no lapse", facts(period("2", day), renewal(func(r *iap.RenewalInfo) { r.AutoRenewStatus = new(false) })), iap.StatusActive, "2"},
		{"expires at the very moment of the facts", facts(period("2", 0)), iap.StatusExpired, "2"},
		{"grace period", facts(period("2", -day), renewal(inRetry, graceUntil(15*day))), iap.StatusGracePeriod, "2"},
		{"grace period without the retry flag", facts(period("2", -day), renewal(graceUntil(15*day))), iap.StatusGracePeriod, "2"},
		{"grace period is over", facts(period("2", -20*day), renewal(inRetry, graceUntil(-4*day))), iap.StatusBillingRetry, "2"},
		{"billing retry without an intent", facts(period("2", -2*day), renewal(inRetry)), iap.StatusBillingRetry, "2"},
		{"expired without renewal information", facts(period("2", -2*day)), iap.StatusExpired, "2"},
		{"refunded", facts(period("2", 10*day, refunded(day)), renewal()), iap.StatusRevoked, "2"},
		{"an older period was refunded, the new one counts", facts(period("1", -20*day, refunded(25*day)), period("2", 10*day)), iap.StatusActive, "2"},
		{"the longest period was refunded, another one runs", facts(period("9", 300*day, refunded(day)), period("2", 10*day)), iap.StatusActive, "2"},
		{"bought again after a refund, and lapsed", facts(period("9", 300*day, boughtAgo(65), refunded(60*day)), period("2", -10*day)), iap.StatusExpired, "2"},
		{"bought again after a refund, and refunded too", facts(period("9", 300*day, boughtAgo(65), refunded(60*day)), period("2", 10*day, refunded(day))), iap.StatusRevoked, "2"},
		{"refunded, and an older period lapsed before that", facts(period("1", -40*day), period("2", 10*day, refunded(day))), iap.StatusRevoked, "2"},
		{"upgraded to a shorter product", facts(period("1", 300*day, upgraded, product("yearly")), period("2", 10*day)), iap.StatusActive, "2"},
		{"upgraded, and Apple dates the end of the old period", facts(period("1", 300*day, upgraded, refunded(day)), period("2", 10*day)), iap.StatusActive, "2"},
		{"nothing left but an upgraded period", facts(period("1", 300*day, upgraded)), iap.StatusExpired, "1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := iap.Derive(test.facts).Subscriptions
			if len(got) != 1 {
				t.Fatalf("got %d subscriptions, want 1", len(got))
			}
			if got[0].Status != test.want || got[0].TransactionID != test.wantTransaction {
				t.Errorf("got %s by transaction %s, want %s by %s", got[0].Status, got[0].TransactionID, test.want, test.wantTransaction)
			}
		})
	}
}

func TestDeriveDetails(t *testing.T) {
	t.Parallel()
	trial := period("2", 10*day, func(t *iap.Transaction) {
		t.IsTrialPeriod, t.IsInIntroOfferPeriod = true, true
		t.SubscriptionGroupIdentifier, t.InAppOwnershipType = "20", iap.OwnershipPurchased
		t.OriginalPurchaseDate, t.AppAccountToken = now.Add(-100*day), "token"
	})
	got := iap.Derive(facts(trial, renewal(func(r *iap.RenewalInfo) {
		r.AutoRenewProductID, r.PriceConsentStatus = "yearly", "0"
	})))
	want := iap.Conclusion{AsOf: now, Subscriptions: []iap.Subscription{{
		SubscriptionKey: iap.SubscriptionKey{BundleID: "com.example.reader", Environment: iap.Production, OriginalTransactionID: "1"},
		Status:          iap.StatusActive, ProductID: "monthly", SubscriptionGroupIdentifier: "20",
		TransactionID: "2", PurchaseDate: now.Add(-20 * day), ExpiresDate: now.Add(10 * day), OriginalPurchaseDate: now.Add(-100 * day),
		AutoRenewStatus: new(true), AutoRenewProductID: "yearly",
		OfferType: iap.OfferIntroductory, IsTrialPeriod: true,
		InAppOwnershipType: iap.OwnershipPurchased, PriceConsentStatus: "0", AppAccountToken: "token",
		AsOf:   now,
		ToldAt: iap.ToldAt{PeriodAsOf: now, RenewalAsOf: now, GraceAsOf: now, OfferAsOf: now, RevocationsAsOf: now},
	}}}
	if diff := cmp.Diff(want, got, stored); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDeriveOffer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*iap.Transaction)
		want   iap.OfferType
		wantID string
	}{
		{"none", func(*iap.Transaction) {}, "", ""},
		{"introductory", func(t *iap.Transaction) { t.IsInIntroOfferPeriod = true }, iap.OfferIntroductory, ""},
		{"promotional, free", func(t *iap.Transaction) { t.PromotionalOfferID, t.IsTrialPeriod = "back", true }, iap.OfferPromotional, "back"},
		{"offer code", func(t *iap.Transaction) { t.OfferCodeRefName = "SPRING" }, iap.OfferCode, "SPRING"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := iap.Derive(facts(period("1", day, test.change))).Subscriptions[0]
			if s.OfferType != test.want || s.OfferID != test.wantID {
				t.Errorf("got %q %q, want %q %q", s.OfferType, s.OfferID, test.want, test.wantID)
			}
		})
	}
}

func TestDeriveSeveral(t *testing.T) {
	t.Parallel()
	family := period("7", day, func(t *iap.Transaction) {
		t.OriginalTransactionID, t.InAppOwnershipType = "7", iap.OwnershipFamilyShared
	})
	coins := iap.Transaction{TransactionID: "8", ProductID: "coins", PurchaseDate: now, Quantity: 3}
	lost := iap.Transaction{TransactionID: "9", ProductID: "map", CancellationDate: now, CancellationReason: "1"}
	c := iap.Derive(facts(period("1", -day), family, coins, lost))
	if len(c.Subscriptions) != 2 || c.Subscriptions[1].InAppOwnershipType != iap.OwnershipFamilyShared {
		t.Errorf("subscriptions: %+v", c.Subscriptions)
	}
	if len(c.Purchases) != 2 || c.Purchases[0].OriginalTransactionID != "8" || !c.Purchases[1].RevocationDate.Equal(now) {
		t.Errorf("purchases: %+v", c.Purchases)
	}
}

func TestRenewalFindsItsSubscription(t *testing.T) {
	t.Parallel()
	other := period("5", 3*day, func(t *iap.Transaction) { t.OriginalTransactionID, t.ProductID = "5", "extra" })
	entry := func(id, product string) iap.RenewalInfo {
		return iap.RenewalInfo{OriginalTransactionID: id, ProductID: product, AutoRenewStatus: new(true)}
	}
	tests := []struct {
		name  string
		facts *iap.Facts
		want  []bool // whether subscription "1" and "5" have it
	}{
		{"by id", facts(period("1", day), other, entry("5", "monthly")), []bool{false, true}},
		{"by product, where it has no id", facts(period("1", day), other, entry("", "monthly")), []bool{true, false}},
		{"iOS 6 style, which names nothing", facts(period("1", day), entry("", "")), []bool{true}},
		{"of a subscription that is not here", facts(period("1", day), entry("77", "monthly")), []bool{false}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []bool
			for _, s := range iap.Derive(test.facts).Subscriptions {
				got = append(got, s.AutoRenewStatus != nil)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSameTransactionInBothLists(t *testing.T) {
	t.Parallel()
	stale := period("2", 10*day)
	fresh := period("2", 10*day, refunded(day))
	tests := []struct {
		name        string
		receipt     iap.Transaction
		latest      iap.Transaction
		wantRevoked bool
	}{
		{"refund that the receipt does not know", stale, fresh, true},
		{"refund that was reversed since", fresh, stale, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, latestFirst := range []bool{true, false} {
				var f iap.Facts
				f.AsOf = now
				if latestFirst {
					f.AddTransaction(test.latest, iap.ListLatest)
				}
				f.AddTransaction(test.receipt, iap.ListReceipt)
				f.AddTransaction(test.latest, iap.ListLatest)
				got := iap.Derive(&f).Subscriptions[0].Status == iap.StatusRevoked
				if got != test.wantRevoked {
					t.Errorf("latest first %t: revoked %t, want %t", latestFirst, got, test.wantRevoked)
				}
			}
		})
	}
}
