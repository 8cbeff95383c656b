package signed_test

import (
	"crypto"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"revalidator/internal/appstore/signed"
	"revalidator/internal/dev/applesign"
)

const bundleID = "com.example.reader"

const appAppleID = 1234567890

var (
	signedAt = time.Date(2025, 3, 4, 5, 6, 7, 89e6, time.UTC)
	now      = signedAt.Add(time.Hour)
	app      = signed.App{BundleID: bundleID, AppAppleID: appAppleID}
)

// authority is a chain like Apple's; other has the same names and other keys.
var (
	authority = sync.OnceValue(func() *applesign.Authority { return applesign.Must(applesign.New(applesign.Config{}, keys())) })
	other     = sync.OnceValue(func() *applesign.Authority { return applesign.Must(applesign.NewEC(applesign.Config{})) })
)

func keys() [3]crypto.Signer {
	keys, err := applesign.ReadKeys("testdata/keys.pem")
	if err != nil {
		panic(err)
	}
	return keys
}

// with is the authority with its keys and other certificates.
func with(t *testing.T, cfg applesign.Config) *applesign.Authority {
	t.Helper()
	a, err := applesign.New(cfg, authority().Keys)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newVerifier(t testing.TB, roots ...*x509.Certificate) *signed.Verifier {
	t.Helper()
	if len(roots) == 0 {
		roots = authority().Certificates[:1]
	}
	v, err := signed.New(signed.Config{Roots: roots, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// jws signs a payload.
func jws(t testing.TB, a *applesign.Authority, payload any) string {
	t.Helper()
	text, err := a.JWS(payload)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

type fields = map[string]any

// changed is a copy of a payload with other fields; nil takes one out.
func changed(payload fields, changes fields) fields {
	all := make(fields)
	for _, f := range []fields{payload, changes} {
		for name, value := range f {
			all[name] = value
			if value == nil {
				delete(all, name)
			}
		}
	}
	return all
}

func millis(t time.Time) int64 { return t.UnixMilli() }

// transaction has every field that Apple documents.
func transaction() fields {
	return fields{
		"transactionId": "2000000000000002", "originalTransactionId": "2000000000000001", "previousOriginalTransactionId": "1999",
		"appTransactionId": "704000000000000001", "webOrderLineItemId": "2000000000000009",
		"bundleId": bundleID, "productId": bundleID + ".monthly", "subscriptionGroupIdentifier": "20500000",
		"purchaseDate": millis(signedAt.AddDate(0, 0, -3)), "originalPurchaseDate": millis(signedAt.AddDate(0, -1, -3)),
		"expiresDate": millis(signedAt.AddDate(0, 1, -3)), "quantity": 1, "type": "Auto-Renewable Subscription",
		"appAccountToken": "7e3fb204-2d2c-4a6a-8a1e-1c7b8a6d9f10", "inAppOwnershipType": "PURCHASED", "signedDate": millis(signedAt),
		"revocationDate": millis(signedAt.AddDate(0, 0, -1)), "revocationReason": 0, "revocationType": "REFUND_PRORATED", "revocationPercentage": 50000,
		"isUpgraded": true, "offerType": 2, "offerIdentifier": "spring", "offerDiscountType": "PAY_AS_YOU_GO", "offerPeriod": "P1M",
		"environment": "Production", "storefront": "USA", "storefrontId": "143441", "transactionReason": "RENEWAL",
		"currency": "USD", "price": 9990, "billingPlanType": "MONTHLY",
		"commitmentInfo": fields{
			"billingPeriodNumber": 2, "totalBillingPeriods": 12, "commitmentExpiresDate": millis(signedAt.AddDate(1, 0, 0)), "commitmentPrice": 119880,
		},
		"advancedCommerceInfo": fields{"requestReferenceId": "x"}, "deviceVerification": "abc=", "deviceVerificationNonce": "nonce",
	}
}

// renewalInfo has every field that Apple documents.
func renewalInfo() fields {
	return fields{
		"originalTransactionId": "2000000000000001", "productId": bundleID + ".monthly", "autoRenewProductId": bundleID + ".yearly",
		"autoRenewStatus": 1, "expirationIntent": 2, "isInBillingRetryPeriod": true, "gracePeriodExpiresDate": millis(signedAt.AddDate(0, 0, 6)),
		"priceIncreaseStatus": 0, "offerType": 4, "offerIdentifier": "back", "offerDiscountType": "FREE_TRIAL", "offerPeriod": "P1W",
		"signedDate": millis(signedAt.Add(-time.Second)), "environment": "Production",
		"recentSubscriptionStartDate": millis(signedAt.AddDate(0, -1, -3)), "renewalDate": millis(signedAt.AddDate(0, 1, -3)),
		"currency": "USD", "renewalPrice": 99900, "eligibleWinBackOfferIds": []string{"a", "b"},
		"appAccountToken": "7e3fb204-2d2c-4a6a-8a1e-1c7b8a6d9f10", "appTransactionId": "704000000000000001", "renewalBillingPlanType": "BILLED_UPFRONT",
		"commitmentInfo": fields{
			"commitmentAutoRenewProductId": "p", "commitmentAutoRenewStatus": 0, "commitmentRenewalBillingPlanType": "MONTHLY",
			"commitmentRenewalDate": millis(signedAt.AddDate(1, 0, 0)), "commitmentRenewalPrice": 1,
		},
		"advancedCommerceInfo": fields{"taxCode": "C003"},
	}
}

func appTransaction() fields {
	return fields{
		"receiptType": "Production", "appAppleId": appAppleID, "bundleId": bundleID, "applicationVersion": "7", "versionExternalIdentifier": 812,
		"receiptCreationDate": millis(signedAt), "originalPurchaseDate": millis(signedAt.AddDate(-1, 0, 0)), "originalApplicationVersion": "1.0",
		"deviceVerification": "abc=", "deviceVerificationNonce": "nonce", "preorderDate": millis(signedAt.AddDate(-2, 0, 0)),
		"appTransactionId": "704000000000000001", "originalPlatform": "iOS",
	}
}

// notification has both payloads in it.
func notification(t testing.TB, data fields) fields {
	t.Helper()
	return fields{
		"notificationType": "DID_RENEW", "subtype": "BILLING_RECOVERY", "notificationUUID": "002e14d5-51f5-4503-b5a8-c3a1af68eb20",
		"version": "2.0", "signedDate": millis(signedAt),
		"data": changed(fields{
			"environment": "Production", "appAppleId": appAppleID, "bundleId": bundleID, "bundleVersion": "7", "status": 1,
			"signedTransactionInfo": jws(t, authority(), transaction()), "signedRenewalInfo": jws(t, authority(), renewalInfo()),
		}, data),
	}
}

// check verifies a payload by what it is, and returns it.
func check(t testing.TB, v *signed.Verifier, text string, a signed.App) (any, error) {
	t.Helper()
	claims, err := signed.Peek(text)
	if err != nil {
		return nil, err
	}
	switch claims.Kind {
	case signed.KindRenewalInfo:
		return v.RenewalInfo(t.Context(), text, a, nil)
	case signed.KindAppTransaction:
		return v.AppTransaction(t.Context(), text, a)
	case signed.KindNotification:
		return v.Notification(t.Context(), text, a)
	}
	return v.Transaction(t.Context(), text, a)
}
