package signed_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/appstore/signed"
	"revalidator/internal/dev/applesign"
	"revalidator/internal/iap"
)

func signer() pki.Signer {
	leaf := authority().Certificates[applesign.Leaf]
	return pki.Signer{
		Name: "Simulated App Store Receipt Signing", Intermediate: "Simulated Worldwide Developer Relations Certification Authority",
		Root: "Simulated Root CA", NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
}

func common(at time.Time) signed.Common { return signed.Common{SignedDate: at, Signer: signer()} }

func wantTransaction() signed.Transaction {
	return signed.Transaction{
		Common:        common(signedAt),
		TransactionID: "2000000000000002", OriginalTransactionID: "2000000000000001", PreviousOriginalTransactionID: "1999",
		AppTransactionID: "704000000000000001", WebOrderLineItemID: "2000000000000009",
		BundleID: bundleID, ProductID: bundleID + ".monthly", SubscriptionGroupIdentifier: "20500000",
		Type: signed.TypeAutoRenewable, Environment: iap.Production,
		PurchaseDate: signedAt.AddDate(0, 0, -3), OriginalPurchaseDate: signedAt.AddDate(0, -1, -3), ExpiresDate: signedAt.AddDate(0, 1, -3),
		Quantity: new(int64(1)), AppAccountToken: "7e3fb204-2d2c-4a6a-8a1e-1c7b8a6d9f10", InAppOwnershipType: iap.OwnershipPurchased,
		TransactionReason: "RENEWAL", IsUpgraded: true,
		RevocationDate: signedAt.AddDate(0, 0, -1), RevocationReason: new(int64(0)), RevocationType: "REFUND_PRORATED", RevocationPercentage: new(int64(50000)),
		OfferType: new(int64(2)), OfferIdentifier: "spring", OfferDiscountType: "PAY_AS_YOU_GO", OfferPeriod: "P1M",
		Price: new(int64(9990)), Currency: "USD", Storefront: "USA", StorefrontID: "143441", BillingPlanType: "MONTHLY",
		CommitmentInfo: &signed.CommitmentInfo{
			BillingPeriodNumber: new(int64(2)), TotalBillingPeriods: new(int64(12)), CommitmentExpiresDate: signedAt.AddDate(1, 0, 0), CommitmentPrice: new(int64(119880)),
		},
		AdvancedCommerceInfo: json.RawMessage(`{"requestReferenceId":"x"}`), DeviceVerification: "abc=", DeviceVerificationNonce: "nonce",
	}
}

func wantRenewalInfo() signed.RenewalInfo {
	return signed.RenewalInfo{
		Common:                common(signedAt.Add(-time.Second)),
		OriginalTransactionID: "2000000000000001", AppTransactionID: "704000000000000001", Environment: iap.Production,
		ProductID: bundleID + ".monthly", AutoRenewProductID: bundleID + ".yearly", AutoRenewStatus: new(int64(1)), ExpirationIntent: new(int64(2)),
		IsInBillingRetryPeriod: new(true), GracePeriodExpiresDate: signedAt.AddDate(0, 0, 6), PriceIncreaseStatus: new(int64(0)),
		OfferType: new(int64(4)), OfferIdentifier: "back", OfferDiscountType: "FREE_TRIAL", OfferPeriod: "P1W", EligibleWinBackOfferIDs: []string{"a", "b"},
		RenewalDate: signedAt.AddDate(0, 1, -3), RenewalPrice: new(int64(99900)), Currency: "USD", RecentSubscriptionStartDate: signedAt.AddDate(0, -1, -3),
		AppAccountToken: "7e3fb204-2d2c-4a6a-8a1e-1c7b8a6d9f10", RenewalBillingPlanType: "BILLED_UPFRONT",
		CommitmentInfo: &signed.RenewalCommitmentInfo{
			CommitmentAutoRenewProductID: "p", CommitmentAutoRenewStatus: new(int64(0)), CommitmentRenewalBillingPlanType: "MONTHLY",
			CommitmentRenewalDate: signedAt.AddDate(1, 0, 0), CommitmentRenewalPrice: new(int64(1)),
		},
		AdvancedCommerceInfo: json.RawMessage(`{"taxCode":"C003"}`),
	}
}

var compare = cmp.Options{cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".hasTransactionID" }, cmp.Ignore())}

func TestVerify(t *testing.T) {
	t.Parallel()
	transactionInfo, renewal := wantTransaction(), wantRenewalInfo()
	n := notification(t, nil)
	appTx := signed.AppTransaction{
		Common: common(signedAt), Environment: iap.Production, BundleID: bundleID, AppAppleID: new(int64(appAppleID)),
		AppTransactionID: "704000000000000001", ApplicationVersion: "7", OriginalApplicationVersion: "1.0", VersionExternalIdentifier: new(int64(812)),
		OriginalPurchaseDate: signedAt.AddDate(-1, 0, 0), PreorderDate: signedAt.AddDate(-2, 0, 0), OriginalPlatform: "iOS",
		DeviceVerification: "abc=", DeviceVerificationNonce: "nonce",
	}
	head := fields{"notificationType": "TEST", "notificationUUID": "u", "version": "2.0", "signedDate": millis(signedAt)}
	signedApp := jws(t, authority(), appTransaction())
	of := func(n signed.Notification) signed.Notification {
		n.Common, n.NotificationType, n.NotificationUUID, n.Version = common(signedAt), "TEST", "u", "2.0"
		return n
	}
	tests := map[string]struct {
		payload any
		want    any
	}{
		"transaction":     {transaction(), transactionInfo},
		"renewal info":    {renewalInfo(), renewal},
		"app transaction": {appTransaction(), appTx},
		"notification": {n, signed.Notification{
			Common: common(signedAt), NotificationType: "DID_RENEW", Subtype: "BILLING_RECOVERY",
			NotificationUUID: "002e14d5-51f5-4503-b5a8-c3a1af68eb20", Version: "2.0",
			Data: &signed.NotificationData{
				Environment: iap.Production, AppAppleID: new(int64(appAppleID)), BundleID: bundleID, BundleVersion: "7", Status: new(int64(1)),
				SignedTransactionInfo: n["data"].(fields)["signedTransactionInfo"].(string), Transaction: &transactionInfo,
				SignedRenewalInfo: n["data"].(fields)["signedRenewalInfo"].(string), RenewalInfo: &renewal,
			},
		}},
		"summary": {changed(head, fields{"summary": fields{
			"environment": "Sandbox", "bundleId": bundleID, "productId": "p", "requestIdentifier": "r",
			"storefrontCountryCodes": []string{"USA", "DEU"}, "succeededCount": 5, "failedCount": 2,
		}}), of(signed.Notification{Summary: &signed.Summary{
			Environment: iap.Sandbox, BundleID: bundleID, ProductID: "p", RequestIdentifier: "r",
			StorefrontCountryCodes: []string{"USA", "DEU"}, SucceededCount: new(int64(5)), FailedCount: new(int64(2)),
		}})},
		"external purchase token": {changed(head, fields{"externalPurchaseToken": fields{
			"externalPurchaseId": "SANDBOX_1", "tokenCreationDate": millis(signedAt), "bundleId": bundleID, "tokenType": "SERVICES", "tokenExpirationDate": millis(signedAt),
		}}), of(signed.Notification{ExternalPurchaseToken: &signed.ExternalPurchaseToken{
			ExternalPurchaseID: "SANDBOX_1", BundleID: bundleID, TokenType: "SERVICES", TokenCreationDate: signedAt, TokenExpirationDate: signedAt,
		}})},
		"app data": {changed(head, fields{"appData": fields{
			"environment": "Production", "appAppleId": appAppleID, "bundleId": bundleID, "signedAppTransactionInfo": signedApp,
		}}), of(signed.Notification{AppData: &signed.AppData{
			Environment: iap.Production, AppAppleID: new(int64(appAppleID)), BundleID: bundleID, SignedAppTransactionInfo: signedApp, AppTransaction: &appTx,
		}})},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, text := newVerifier(t), jws(t, authority(), test.payload)
			for _, which := range []string{"first", "cached"} {
				got, err := check(t, v, " "+text+"\n", app)
				if err != nil {
					t.Fatalf("%s: %v", which, err)
				}
				if diff := cmp.Diff(test.want, got, compare); diff != "" {
					t.Errorf("%s (-want +got):\n%s", which, diff)
				}
			}
		})
	}
}

// header is that of the authority with changes.
func header(changes fields) fields { return changed(authority().Header(), changes) }

// cert is a certificate as x5c has it.
func cert(a *applesign.Authority, roles ...applesign.Role) (all []string) {
	for _, role := range roles {
		all = append(all, base64.StdEncoding.EncodeToString(a.Certificates[role].Raw))
	}
	return all
}

// leafAsCA is a leaf that the authority's own leaf issued.
func leafAsCA(t *testing.T) *applesign.Authority {
	t.Helper()
	a := authority()
	template := *a.Certificates[applesign.Leaf]
	template.RawSubject, template.Subject.CommonName = nil, "Forged"
	forged, err := applesign.Issue(&template, a.Certificates[applesign.Leaf], other().Keys[applesign.Leaf].Public(), a.Keys[applesign.Leaf])
	if err != nil {
		t.Fatal(err)
	}
	return &applesign.Authority{
		Certificates: [3]*x509.Certificate{a.Certificates[applesign.Root], a.Certificates[applesign.Leaf], forged},
		Keys:         other().Keys,
	}
}

func TestVerifyRefusesChains(t *testing.T) {
	t.Parallel()
	a := authority()
	spoil := func(role applesign.Role, f func(*x509.Certificate)) *applesign.Authority {
		return with(t, applesign.Change(role, f))
	}
	pathLength := spoil(applesign.Root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	tests := map[string]struct {
		authority *applesign.Authority
		root      *x509.Certificate // nil for the authority's
		want      pki.Reason
	}{
		"leaf as CA":                    {leafAsCA(t), nil, pki.ReasonNotCA},
		"root by name":                  {other(), nil, pki.ReasonChainSignature},
		"unknown root":                  {spoil(applesign.Root, func(c *x509.Certificate) { c.Subject.CommonName = "Another Root" }), nil, pki.ReasonUnknownRoot},
		"leaf of another intermediate":  {&applesign.Authority{Certificates: [3]*x509.Certificate{a.Certificates[0], a.Certificates[1], other().Certificates[2]}, Keys: other().Keys}, nil, pki.ReasonChainSignature},
		"intermediate not a CA":         {spoil(applesign.Intermediate, func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }), nil, pki.ReasonNotCA},
		"intermediate without CA flag":  {spoil(applesign.Intermediate, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = false, false, false }), nil, pki.ReasonNotCA},
		"intermediate may not issue":    {spoil(applesign.Intermediate, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), nil, pki.ReasonKeyUsage},
		"leaf may not sign":             {spoil(applesign.Leaf, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), nil, pki.ReasonKeyUsage},
		"leaf is a CA":                  {spoil(applesign.Leaf, func(c *x509.Certificate) { c.IsCA = true }), nil, pki.ReasonLeafIsCA},
		"leaf without its mark":         {spoil(applesign.Leaf, func(c *x509.Certificate) { c.ExtraExtensions = nil }), nil, pki.ReasonLeafOID},
		"intermediate without its mark": {spoil(applesign.Intermediate, func(c *x509.Certificate) { c.ExtraExtensions = nil }), nil, pki.ReasonIntermediateOID},
		"root allows no intermediate":   {pathLength, pathLength.Certificates[applesign.Root], pki.ReasonPathLength},
		"unknown critical extension": {spoil(applesign.Leaf, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: asn1.NullBytes})
		}), nil, pki.ReasonUnknownExtension},
		"signed before its leaf": {with(t, applesign.Config{NotBefore: signedAt.Add(time.Minute)}), nil, pki.ReasonCertificateDates},
		"signed after its leaf":  {with(t, applesign.Config{NotAfter: signedAt.Add(-time.Minute)}), nil, pki.ReasonCertificateDates},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := a.Certificates[applesign.Root]
			if test.root != nil {
				root = test.root
			}
			v, text := newVerifier(t, root), jws(t, test.authority, transaction())
			for range 2 { // cached or not
				if _, err := v.Transaction(t.Context(), text, app); pki.ReasonOf(err) != test.want {
					t.Errorf("got %v, want reason %s", err, test.want)
				}
			}
		})
	}
}

func TestVerifyRefusesHeaders(t *testing.T) {
	t.Parallel()
	a := authority()
	rsa := applesign.Must(applesign.NewRSA(applesign.Config{}))
	mixed := with(t, applesign.Config{})
	leaf := *mixed.Certificates[applesign.Leaf]
	leaf.SignatureAlgorithm, leaf.ExtraExtensions = x509.UnknownSignatureAlgorithm, leaf.Extensions
	var err error
	if mixed.Certificates[applesign.Leaf], err = applesign.Issue(&leaf, a.Certificates[applesign.Intermediate], rsa.Keys[applesign.Leaf].Public(), a.Keys[applesign.Intermediate]); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		header fields
		want   pki.Reason
	}{
		"alg none":                 {header(fields{"alg": "none"}), pki.ReasonUnsigned},
		"alg NONE":                 {header(fields{"alg": "NONE"}), pki.ReasonUnsigned},
		"no alg":                   {header(fields{"alg": nil}), pki.ReasonUnsigned},
		"HS256":                    {header(fields{"alg": "HS256"}), pki.ReasonUnsigned},
		"ES384":                    {header(fields{"alg": "ES384"}), pki.ReasonUnknownAlgorithm},
		"RS256":                    {header(fields{"alg": "RS256"}), pki.ReasonUnknownAlgorithm},
		"alg of another type":      {header(fields{"alg": 7}), pki.ReasonUnsigned},
		"no x5c":                   {header(fields{"x5c": nil}), pki.ReasonChainLength},
		"x5c empty":                {header(fields{"x5c": []string{}}), pki.ReasonChainLength},
		"x5c of 1":                 {header(fields{"x5c": cert(a, applesign.Leaf)}), pki.ReasonChainLength},
		"x5c of 2":                 {header(fields{"x5c": cert(a, applesign.Leaf, applesign.Intermediate)}), pki.ReasonChainLength},
		"x5c of 4":                 {header(fields{"x5c": cert(a, applesign.Leaf, applesign.Intermediate, applesign.Root, applesign.Root)}), pki.ReasonChainLength},
		"x5c upside down":          {header(fields{"x5c": cert(a, applesign.Root, applesign.Intermediate, applesign.Leaf)}), pki.ReasonChainSignature},
		"x5c of another type":      {header(fields{"x5c": "abc"}), pki.ReasonMalformed},
		"x5c not base64":           {header(fields{"x5c": []string{"!", "!", "!"}}), pki.ReasonMalformed},
		"x5c no certificates":      {header(fields{"x5c": []string{"AAAA", "AAAA", "AAAA"}}), pki.ReasonMalformed},
		"leaf with an RSA key":     {header(fields{"x5c": cert(mixed, applesign.Leaf, applesign.Intermediate, applesign.Root)}), pki.ReasonUnknownAlgorithm},
		"other names":              {header(fields{"x5c": nil, "X5C": cert(a, applesign.Leaf, applesign.Intermediate, applesign.Root)}), pki.ReasonChainLength},
		"critical extension":       {header(fields{"crit": []string{"exp"}, "exp": 1}), pki.ReasonUnknownExtension},
		"payload not in base64":    {header(fields{"crit": []string{"b64"}, "b64": false}), pki.ReasonUnknownExtension},
		"key of its own (jwk)":     {header(fields{"x5c": nil, "jwk": fields{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}), pki.ReasonChainLength},
		"too many bytes of header": {header(fields{"x": strings.Repeat("x", 40<<10)}), pki.ReasonTooLarge},
		"with kid and typ":         {header(fields{"kid": "k", "typ": "JWT"}), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := a.JWSWithHeader(test.header, transaction())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newVerifier(t).Transaction(t.Context(), text, app); pki.ReasonOf(err) != test.want {
				t.Errorf("got %v, want reason %q", err, test.want)
			}
		})
	}
}

func TestVerifyRefusesPayloads(t *testing.T) {
	t.Parallel()
	v := newVerifier(t)
	of := func(changes fields) fields { return changed(transaction(), changes) }
	tests := map[string]struct {
		payload any
		app     signed.App
		want    pki.Reason
	}{
		"another app":                       {of(fields{"bundleId": "com.example.other"}), app, pki.ReasonWrongApp},
		"bundle id in another case":         {of(fields{"bundleId": strings.ToUpper(bundleID)}), app, pki.ReasonWrongApp},
		"bundle id under another name":      {of(fields{"bundleId": nil, "BundleId": bundleID}), app, pki.ReasonNoApp},
		"another environment":               {of(fields{"environment": "Sandbox"}), signed.App{BundleID: bundleID, Environment: iap.Production}, pki.ReasonWrongEnvironment},
		"Xcode":                             {of(fields{"environment": "Xcode"}), app, pki.ReasonTestEnvironment},
		"LocalTesting":                      {of(fields{"environment": "LocalTesting"}), app, pki.ReasonTestEnvironment},
		"an unknown environment":            {of(fields{"environment": "Moon"}), app, pki.ReasonUnknownEnvironment},
		"no environment":                    {of(fields{"environment": nil}), app, pki.ReasonUnknownEnvironment},
		"no signed date":                    {of(fields{"signedDate": nil}), app, pki.ReasonNoSignedDate},
		"impossible signed date":            {of(fields{"signedDate": -62135769600000}), app, pki.ReasonNoSignedDate},
		"signed date is a word":             {of(fields{"signedDate": "today"}), app, pki.ReasonNoSignedDate},
		"signed in the future":              {of(fields{"signedDate": millis(now.Add(6 * time.Minute))}), app, pki.ReasonSignedInFuture},
		"not JSON":                          {[]byte("transaction"), app, pki.ReasonMalformed},
		"cut JSON":                          {[]byte(`{"bundleId":"` + bundleID), app, pki.ReasonMalformed},
		"a list":                            {[]byte(`[]`), app, pki.ReasonMalformed},
		"app transaction of another app":    {changed(appTransaction(), fields{"bundleId": "x"}), app, pki.ReasonWrongApp},
		"app transaction, another id":       {changed(appTransaction(), fields{"appAppleId": 1}), app, pki.ReasonWrongApp},
		"app transaction without id":        {changed(appTransaction(), fields{"appAppleId": nil}), app, pki.ReasonWrongApp},
		"app transaction of Xcode":          {changed(appTransaction(), fields{"receiptType": "Xcode"}), app, pki.ReasonTestEnvironment},
		"app transaction without its date":  {changed(appTransaction(), fields{"receiptCreationDate": nil}), app, pki.ReasonNoSignedDate},
		"renewal info of Xcode":             {changed(renewalInfo(), fields{"environment": "Xcode"}), app, pki.ReasonTestEnvironment},
		"notification of another app":       {notification(t, fields{"bundleId": "x"}), app, pki.ReasonWrongApp},
		"notification, another id":          {notification(t, fields{"appAppleId": 1}), app, pki.ReasonWrongApp},
		"notification about nothing":        {changed(notification(t, nil), fields{"data": nil}), app, pki.ReasonNoApp},
		"another app inside":                {notification(t, fields{"signedTransactionInfo": jws(t, authority(), of(fields{"bundleId": "x"}))}), app, pki.ReasonWrongApp},
		"another environment inside":        {notification(t, fields{"signedTransactionInfo": jws(t, authority(), of(fields{"environment": "Sandbox"}))}), app, pki.ReasonWrongEnvironment},
		"another root inside":               {notification(t, fields{"signedTransactionInfo": jws(t, other(), transaction())}), app, pki.ReasonChainSignature},
		"renewal info of another inside":    {notification(t, fields{"signedRenewalInfo": jws(t, authority(), changed(renewalInfo(), fields{"originalTransactionId": "1"}))}), app, pki.ReasonWrongTransaction},
		"renewal info, another environment": {notification(t, fields{"signedRenewalInfo": jws(t, authority(), changed(renewalInfo(), fields{"environment": "Sandbox"}))}), app, pki.ReasonWrongEnvironment},
		"transaction as renewal info":       {notification(t, fields{"signedRenewalInfo": jws(t, authority(), transaction())}), app, pki.ReasonUnsupportedKind},
		"garbage inside":                    {notification(t, fields{"signedTransactionInfo": "abc"}), app, pki.ReasonMalformed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := check(t, v, jws(t, authority(), test.payload), test.app)
			if pki.ReasonOf(err) != test.want {
				t.Errorf("got %v, want reason %s", err, test.want)
			}
		})
	}
	if _, err := v.Transaction(t.Context(), jws(t, authority(), transaction()), signed.App{}); err == nil || pki.ReasonOf(err) != "" {
		t.Errorf("got %v for no app at all, want an error without a verdict", err)
	}
}

func TestVerifyRefusesTexts(t *testing.T) {
	t.Parallel()
	good := jws(t, authority(), transaction())
	parts := strings.Split(good, ".")
	hs256 := func() string {
		input, err := applesign.SigningInput(header(fields{"alg": "HS256"}), transaction())
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalPKIXPublicKey(authority().Keys[applesign.Leaf].Public())
		if err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, key)
		h.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}()
	none, err := applesign.SigningInput(header(fields{"alg": "none"}), transaction())
	if err != nil {
		t.Fatal(err)
	}
	otherPayload := strings.Split(jws(t, authority(), changed(transaction(), fields{"price": 1})), ".")[1]
	asn1Signature := func() string {
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		der, err := authority().Keys[applesign.Leaf].Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(der)
	}()
	tests := map[string]struct {
		text string
		want pki.Reason
	}{
		"empty":                  {"", pki.ReasonMalformed},
		"a word":                 {"transaction", pki.ReasonMalformed},
		"two parts":              {parts[0] + "." + parts[1], pki.ReasonMalformed},
		"four parts":             {good + ".", pki.ReasonMalformed},
		"JSON form":              {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, pki.ReasonMalformed},
		"line break inside":      {parts[0] + "." + parts[1][:5] + "\n" + parts[1][5:] + "." + parts[2], pki.ReasonMalformed},
		"padding":                {parts[0] + "." + parts[1] + "=." + parts[2], pki.ReasonMalformed},
		"no signature":           {parts[0] + "." + parts[1] + ".", pki.ReasonBadSignature},
		"signature of zeros":     {parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), pki.ReasonBadSignature},
		"signature too long":     {parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 65)), pki.ReasonBadSignature},
		"signature in ASN.1":     {parts[0] + "." + parts[1] + "." + asn1Signature, pki.ReasonBadSignature},
		"payload of another":     {parts[0] + "." + otherPayload + "." + parts[2], pki.ReasonBadSignature},
		"HS256 with the key":     {hs256, pki.ReasonUnsigned},
		"alg none, no signature": {none + ".", pki.ReasonUnsigned},
		"a megabyte":             {parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2], pki.ReasonTooLarge},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t)
			for range 2 {
				if _, err := v.Transaction(t.Context(), test.text, app); pki.ReasonOf(err) != test.want {
					t.Errorf("got %v, want reason %s", err, test.want)
				}
				// With the chain in the cache it must end the same way.
				if _, err := v.Transaction(t.Context(), good, app); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestTolerates reads what Apple may add, and what Xcode writes.
func TestTolerates(t *testing.T) {
	t.Parallel()
	payload := changed(transaction(), fields{
		"type": "Bundle", "inAppOwnershipType": "LENT", "transactionReason": "GIFT", "revocationReason": 7, "revocationType": "WISH", "offerType": 9,
		"offerDiscountType": "HALF", "billingPlanType": "DAILY", "expiresDate": 1700358336049.7297, "originalPurchaseDate": -62135769600000,
		"purchaseDate": "1700358336049", "price": "12", "quantity": "two", "isUpgraded": 1, "revocationDate": nil, "storefront": fields{"a": []int{1}},
		"newField": fields{"deep": []any{fields{"er": "}\"]"}}}, "currency": "U\u0000S\u0007D", "offerIdentifier": "frühling",
		"commitmentInfo": fields{"new": 1},
	})
	got, err := newVerifier(t).Transaction(t.Context(), jws(t, authority(), payload), app)
	if err != nil {
		t.Fatal(err)
	}
	want := wantTransaction()
	want.Type, want.InAppOwnershipType, want.TransactionReason, want.RevocationReason, want.RevocationType = "Bundle", "LENT", "GIFT", new(int64(7)), "WISH"
	want.OfferType, want.OfferDiscountType, want.BillingPlanType = new(int64(9)), "HALF", "DAILY"
	want.ExpiresDate, want.PurchaseDate, want.OriginalPurchaseDate = time.UnixMilli(1700358336049).UTC(), time.UnixMilli(1700358336049).UTC(), time.Time{}
	want.Price, want.Quantity, want.RevocationDate, want.Storefront, want.Currency, want.OfferIdentifier = new(int64(12)), nil, time.Time{}, "", "USD", "frühling"
	want.CommitmentInfo = &signed.CommitmentInfo{}
	want.Unknown = map[string]int{
		"type=Bundle": 1, "inAppOwnershipType=LENT": 1, "transactionReason=GIFT": 1, "revocationReason=7": 1, "revocationType=WISH": 1, "offerType=9": 1,
		"offerDiscountType=HALF": 1, "billingPlanType=DAILY": 1, "originalPurchaseDate that is no possible date": 1, "quantity=two": 1,
		"(values of another type)": 1, "transaction.newField": 1, "(control characters)": 1, "commitmentInfo.new": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnknownIsBounded(t *testing.T) {
	t.Parallel()
	payload := transaction()
	for i := range 500 {
		payload["field"+strings.Repeat("x", i%100)+string(rune('a'+i%26))] = i
	}
	payload["productId"] = strings.Repeat("p", 5000)
	got, err := newVerifier(t).Transaction(t.Context(), jws(t, authority(), payload), app)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Unknown) > 65 || got.ProductID != "" {
		t.Errorf("counted %d names, product id of %d bytes", len(got.Unknown), len(got.ProductID))
	}
}

// TestCacheIsBounded verifies under more headers than are remembered.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	v, err := signed.New(signed.Config{Roots: authority().Certificates[:1], MaxChains: 3, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		text, err := authority().JWSWithHeader(header(fields{"n": i}), transaction())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Transaction(t.Context(), text, app); err != nil {
			t.Fatal(err)
		}
	}
	if n := signed.Remembered(v); n != 3 {
		t.Errorf("%d chains are remembered, want 3", n)
	}
}

// TestCacheKeepsOnlySigned sends Apple's certificates with headers that nobody
// signed, which must not push out the real one.
func TestCacheKeepsOnlySigned(t *testing.T) {
	t.Parallel()
	v := newVerifier(t)
	for i := range 5 {
		text, err := other().JWSWithHeader(header(fields{"n": i}), transaction())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Transaction(t.Context(), text, app); pki.ReasonOf(err) != pki.ReasonBadSignature {
			t.Fatalf("got %v, want %s", err, pki.ReasonBadSignature)
		}
	}
	if n := signed.Remembered(v); n != 0 {
		t.Errorf("%d chains are remembered, want none", n)
	}
}

// TestCachedChainIsJudgedByDate verifies payloads of several dates under one header.
func TestCachedChainIsJudgedByDate(t *testing.T) {
	t.Parallel()
	a := with(t, applesign.Config{NotBefore: signedAt.Add(-time.Hour), NotAfter: signedAt.Add(time.Minute)})
	v := newVerifier(t)
	for _, step := range []struct {
		at   time.Time
		want pki.Reason
	}{
		{signedAt, ""}, {signedAt.Add(2 * time.Minute), pki.ReasonCertificateDates}, {signedAt.Add(-2 * time.Hour), pki.ReasonCertificateDates},
		{now.Add(time.Hour), pki.ReasonSignedInFuture}, {signedAt, ""},
	} {
		_, err := v.Transaction(t.Context(), jws(t, a, changed(transaction(), fields{"signedDate": millis(step.at)})), app)
		if pki.ReasonOf(err) != step.want {
			t.Errorf("signed at %s: got %v, want reason %q", step.at, err, step.want)
		}
	}
}

type revocation func(signed time.Time) error

func (f revocation) Check(_ context.Context, _ *pki.Chain, at time.Time) error { return f(at) }

// TestRevocationIsCheckedEveryTime asks also where the chain is cached: the age of
// the last check is for OCSP to judge.
func TestRevocationIsCheckedEveryTime(t *testing.T) {
	t.Parallel()
	asked, failing := 0, errors.New("")
	v, err := signed.New(signed.Config{
		Roots: authority().Certificates[:1], Now: func() time.Time { return now },
		Revocation: revocation(func(at time.Time) error {
			if asked++; asked == 3 {
				failing = pki.Errorf(pki.ReasonRevocationUnknown, "no answer")
				return failing
			}
			if !at.Equal(signedAt) {
				t.Errorf("asked about %s, want %s", at, signedAt)
			}
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	text := jws(t, authority(), transaction())
	for i := range 3 {
		_, err := v.Transaction(t.Context(), text, app)
		if isLast := i == 2; isLast != errors.Is(err, failing) || !isLast && err != nil {
			t.Errorf("time %d: got %v", i+1, err)
		}
	}
}

func TestRenewalInfoIsTied(t *testing.T) {
	t.Parallel()
	v := newVerifier(t)
	tx, err := v.Transaction(t.Context(), jws(t, authority(), transaction()), app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.RenewalInfo(t.Context(), jws(t, authority(), renewalInfo()), app, &tx); err != nil {
		t.Error(err)
	}
	for name, changes := range map[string]fields{
		"another subscription": {"originalTransactionId": "7"}, "no subscription": {"originalTransactionId": nil}, "the sandbox": {"environment": "Sandbox"},
	} {
		text := jws(t, authority(), changed(renewalInfo(), changes))
		if _, err := v.RenewalInfo(t.Context(), text, app, &tx); pki.ReasonOf(err) != pki.ReasonWrongTransaction {
			t.Errorf("%s: got %v, want %s", name, err, pki.ReasonWrongTransaction)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []signed.Config{{Skew: -1}, {MaxBytes: -1}, {MaxChains: -1}} {
		if _, err := signed.New(cfg); err == nil {
			t.Errorf("%+v: want an error", cfg)
		}
	}
}
