package signed_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore/signed"
	"revalidator/internal/iap"
)

// verified verifies payloads of the tests.
func verified(t *testing.T, tx, renewal fields) (signed.Transaction, signed.RenewalInfo) {
	t.Helper()
	v := newVerifier(t)
	got, err := v.Transaction(t.Context(), jws(t, authority(), tx), app)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.RenewalInfo(t.Context(), jws(t, authority(), renewal), app, &got)
	if err != nil {
		t.Fatal(err)
	}
	return got, r
}

func TestFacts(t *testing.T) {
	t.Parallel()
	tx, renewal := verified(t, transaction(), renewalInfo())
	f := signed.Facts(tx, &renewal)
	if want := signedAt.Add(-time.Second); !f.AsOf.Equal(want) || f.BundleID != bundleID || f.Environment != iap.Production || f.TransactionStyle {
		t.Errorf("facts of %s, %s, %s, want the earlier date %s", f.AsOf, f.BundleID, f.Environment, want)
	}
	wantTransactions := []iap.Transaction{{
		TransactionID: "2000000000000002", OriginalTransactionID: "2000000000000001", WebOrderLineItemID: "2000000000000009",
		ProductID: bundleID + ".monthly", SubscriptionGroupIdentifier: "20500000", Quantity: 1,
		PurchaseDate: tx.PurchaseDate, OriginalPurchaseDate: tx.OriginalPurchaseDate, ExpiresDate: tx.ExpiresDate,
		CancellationDate: tx.RevocationDate, CancellationReason: "0", IsUpgraded: true, InAppOwnershipType: iap.OwnershipPurchased,
		PromotionalOfferID: "spring", AppAccountToken: "7e3fb204-2d2c-4a6a-8a1e-1c7b8a6d9f10",
	}}
	if diff := cmp.Diff(wantTransactions, f.Transactions()); diff != "" {
		t.Errorf("transactions (-want +got):\n%s", diff)
	}
	wantRenewals := []iap.RenewalInfo{{
		OriginalTransactionID: "2000000000000001", ProductID: bundleID + ".monthly", AutoRenewProductID: bundleID + ".yearly",
		AutoRenewStatus: new(true), ExpirationIntent: iap.IntentBillingError, IsInBillingRetryPeriod: new(true),
		GracePeriodExpiresDate: renewal.GracePeriodExpiresDate, PriceIncreaseStatus: "0", PromotionalOfferID: "back",
	}}
	if diff := cmp.Diff(wantRenewals, f.RenewalInfos()); diff != "" {
		t.Errorf("renewal information (-want +got):\n%s", diff)
	}
}

// TestFactsTellOnlyTheirGroups derives with and without renewal information.
func TestFactsTellOnlyTheirGroups(t *testing.T) {
	t.Parallel()
	paid := changed(transaction(), fields{"revocationDate": nil, "revocationReason": nil, "isUpgraded": nil})
	tx, renewal := verified(t, paid, renewalInfo())
	alone := iap.GroupPeriod | iap.GroupOffer | iap.GroupRevocations
	for name, test := range map[string]struct {
		renewal *signed.RenewalInfo
		want    iap.Groups
	}{
		"transaction":       {nil, alone},
		"with renewal info": {&renewal, alone | iap.GroupRenewal | iap.GroupGrace},
	} {
		f := signed.Facts(tx, test.renewal)
		c := iap.Derive(&f)
		if len(c.Subscriptions) != 1 || c.Subscriptions[0].Tells != test.want || !c.Subscriptions[0].AsOf.Equal(f.AsOf) {
			t.Errorf("%s: got %+v, want one subscription that tells %b", name, c.Subscriptions, test.want)
		}
	}
}

func TestOffers(t *testing.T) {
	t.Parallel()
	type offer struct {
		kind    iap.OfferType
		id      string
		isTrial bool
	}
	tests := map[string]struct {
		payload fields
		want    offer
	}{
		"none":                  {fields{"offerType": nil, "offerIdentifier": nil, "offerDiscountType": nil}, offer{}},
		"free trial":            {fields{"offerType": 1, "offerIdentifier": nil, "offerDiscountType": "FREE_TRIAL"}, offer{iap.OfferIntroductory, "", true}},
		"introductory":          {fields{"offerType": 1, "offerIdentifier": nil, "offerDiscountType": "PAY_UP_FRONT"}, offer{iap.OfferIntroductory, "", false}},
		"promotional":           {fields{"offerType": 2}, offer{iap.OfferPromotional, "spring", false}},
		"promotional and free":  {fields{"offerType": 2, "offerDiscountType": "FREE_TRIAL"}, offer{iap.OfferPromotional, "spring", true}},
		"offer code":            {fields{"offerType": 3}, offer{iap.OfferCode, "spring", false}},
		"win-back":              {fields{"offerType": 4}, offer{iap.OfferPromotional, "spring", false}},
		"one that Apple adds":   {fields{"offerType": 12}, offer{iap.OfferPromotional, "spring", false}},
		"unreadable offer type": {fields{"offerType": "many"}, offer{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.payload["offerDiscountType"] == nil && name != "none" {
				test.payload["offerDiscountType"] = "PAY_AS_YOU_GO"
			}
			tx, _ := verified(t, changed(transaction(), test.payload), renewalInfo())
			f := signed.Facts(tx, nil)
			s := iap.Derive(&f).Subscriptions[0]
			if got := (offer{s.OfferType, s.OfferID, s.IsTrialPeriod}); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestFactsOfPurchases are those of what is no subscription.
func TestFactsOfPurchases(t *testing.T) {
	t.Parallel()
	payload := changed(transaction(), fields{
		"type": "Consumable", "expiresDate": nil, "webOrderLineItemId": nil, "subscriptionGroupIdentifier": nil, "quantity": 3,
		"isUpgraded": nil, "offerType": nil, "offerIdentifier": nil, "offerDiscountType": nil,
	})
	tx, _ := verified(t, payload, renewalInfo())
	f := signed.Facts(tx, nil)
	c := iap.Derive(&f)
	if len(c.Purchases) != 1 || len(c.Subscriptions) != 0 || c.Purchases[0].Quantity != 3 || c.Purchases[0].RevocationReason != "0" {
		t.Errorf("got %+v", c)
	}
}

// TestFactsOfUnreadableDates are those of a subscription that is not dated, and
// not of a purchase without an end.
func TestFactsOfUnreadableDates(t *testing.T) {
	t.Parallel()
	tx, _ := verified(t, changed(transaction(), fields{"expiresDate": -62135769600000}), renewalInfo())
	f := signed.Facts(tx, nil)
	c := iap.Derive(&f)
	if len(c.Undated) != 1 || len(c.Purchases)+len(c.Subscriptions) != 0 {
		t.Errorf("got %+v, want one that is not dated", c)
	}
}
