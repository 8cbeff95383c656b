package interop_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/appstore/signed"
	"revalidator/internal/dev/applesign"
	"revalidator/internal/dev/corpustest"
	"revalidator/internal/dev/interop"
	"revalidator/internal/iap"
)

// required names the variable that makes a missing library a failure.
const required = "REVALIDATOR_INTEROP"

const (
	bundleID   = "com.example.reader"
	appAppleID = 1234567890
)

var signedAt = time.Date(2025, 3, 4, 5, 6, 7, 89e6, time.UTC)

type fields = map[string]any

// payload is one that both judge.
type payload struct {
	name string
	kind signed.Kind
	jws  string
	root *x509.Certificate
	app  signed.App
	// differs is why the verdicts differ; empty where they must be the same.
	differs string
}

// The differences that are wanted.
const (
	theyTakeNow       = "they judge a payload without a date by today's, we by none"
	theyTakeFuture    = "they believe any date, we none ahead of our clock"
	theyTakeAnyKey    = "they look at what a certificate allows for issuers, and there at its key usage only"
	theyTakeInner     = "they leave the payloads in a notification to the caller, we verify them with it"
	theyTakeExtension = "they leave out critical extensions that nobody understands"
	theyTakeThird     = "they do not read the third certificate, go-jose does"
	theyRefuseTypes   = "they refuse a value of another type, we count it"
	theyWantID        = "they want Apple's id of the app, we compare the one that is known"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func changed(base, changes fields) fields {
	all := maps.Clone(base)
	for name, value := range changes {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	return all
}

func millis(t time.Time) int64 { return t.UnixMilli() }

var (
	transaction = fields{
		"transactionId": "2", "originalTransactionId": "1", "bundleId": bundleID, "productId": bundleID + ".monthly", "type": "Auto-Renewable Subscription",
		"purchaseDate": millis(signedAt), "expiresDate": millis(signedAt.AddDate(0, 1, 0)), "signedDate": millis(signedAt), "environment": "Production",
		"quantity": 1, "price": 9990, "currency": "USD",
	}
	renewalInfo = fields{
		"originalTransactionId": "1", "productId": bundleID + ".monthly", "autoRenewProductId": bundleID + ".monthly", "autoRenewStatus": 1,
		"signedDate": millis(signedAt), "environment": "Production",
	}
	appTransaction = fields{
		"receiptType": "Production", "bundleId": bundleID, "appAppleId": appAppleID, "receiptCreationDate": millis(signedAt), "applicationVersion": "7",
	}
	production = signed.App{BundleID: bundleID, AppAppleID: appAppleID, Environment: iap.Production}
)

// simulated are payloads under simulated roots, good ones and forgeries.
func simulated() []payload {
	good, foreign := must(applesign.NewEC(applesign.Config{})), must(applesign.NewEC(applesign.Config{}))
	root := good.Certificates[applesign.Root]
	inner := func(changes fields) fields {
		data := changed(fields{
			"environment": "Production", "appAppleId": appAppleID, "bundleId": bundleID, "status": 1,
			"signedTransactionInfo": must(good.JWS(transaction)), "signedRenewalInfo": must(good.JWS(renewalInfo)),
		}, changes)
		return fields{"notificationType": "DID_RENEW", "notificationUUID": "u", "version": "2.0", "signedDate": millis(signedAt), "data": data}
	}
	var all []payload
	add := func(name string, kind signed.Kind, body any, differs string) {
		all = append(all, payload{name, kind, must(good.JWS(body)), root, production, differs})
	}
	tx := func(changes fields) fields { return changed(transaction, changes) }

	add("transaction", signed.KindTransaction, transaction, "")
	add("renewal info", signed.KindRenewalInfo, renewalInfo, "")
	add("app transaction", signed.KindAppTransaction, appTransaction, "")
	add("notification", signed.KindNotification, inner(nil), "")
	add("another app", signed.KindTransaction, tx(fields{"bundleId": "x"}), "")
	add("another environment", signed.KindTransaction, tx(fields{"environment": "Sandbox"}), "")
	add("Xcode", signed.KindTransaction, tx(fields{"environment": "Xcode"}), "")
	add("LocalTesting", signed.KindTransaction, tx(fields{"environment": "LocalTesting"}), "")
	add("unknown environment", signed.KindTransaction, tx(fields{"environment": "Moon"}), "")
	add("no signed date", signed.KindTransaction, tx(fields{"signedDate": nil}), theyTakeNow)
	add("signed in the future", signed.KindTransaction, tx(fields{"signedDate": millis(time.Now().AddDate(1, 0, 0))}), theyTakeFuture)
	add("unknown values", signed.KindTransaction, tx(fields{"type": "Bundle", "offerType": 9, "new": fields{"a": 1}}), "")
	add("fractional dates", signed.KindTransaction, tx(fields{"expiresDate": 1700358336049.7297, "originalPurchaseDate": -62135769600000}), "")
	add("date as a text", signed.KindTransaction, tx(fields{"expiresDate": "1700358336049"}), theyRefuseTypes)
	add("price as a text", signed.KindTransaction, tx(fields{"price": "9990"}), theyRefuseTypes)
	add("app transaction of another app", signed.KindAppTransaction, changed(appTransaction, fields{"bundleId": "x"}), "")
	add("app transaction, another id", signed.KindAppTransaction, changed(appTransaction, fields{"appAppleId": 1}), "")
	add("app transaction without id", signed.KindAppTransaction, changed(appTransaction, fields{"appAppleId": nil}), "")
	add("renewal info, another environment", signed.KindRenewalInfo, changed(renewalInfo, fields{"environment": "Sandbox"}), "")
	add("notification of another app", signed.KindNotification, inner(fields{"bundleId": "x"}), "")
	add("notification, another id", signed.KindNotification, inner(fields{"appAppleId": 1}), "")
	add("notification, other transaction inside", signed.KindNotification, inner(fields{"signedTransactionInfo": must(good.JWS(tx(fields{"bundleId": "x"})))}), theyTakeInner)
	add("notification, forged transaction inside", signed.KindNotification, inner(fields{"signedTransactionInfo": must(foreign.JWS(transaction))}), theyTakeInner)
	add("notification, other renewal info inside", signed.KindNotification, inner(fields{"signedRenewalInfo": must(good.JWS(changed(renewalInfo, fields{"originalTransactionId": "9"})))}), theyTakeInner)
	all = append(all, payload{"Apple id not known", signed.KindNotification, must(good.JWS(inner(nil))), root, signed.App{BundleID: bundleID, Environment: iap.Production}, theyWantID})
	all = append(all, payload{"sandbox", signed.KindTransaction, must(good.JWS(tx(fields{"environment": "Sandbox"}))), root, signed.App{BundleID: bundleID, Environment: iap.Sandbox}, ""})

	return append(append(all, headers(good)...), chains(good, foreign)...)
}

// headers are protected headers that Apple does not send.
func headers(a *applesign.Authority) (all []payload) {
	root := a.Certificates[applesign.Root]
	x5c := a.Header()["x5c"].([]string)
	text := func(changes fields) string { return must(a.JWSWithHeader(changed(a.Header(), changes), transaction)) }
	good := text(nil)
	parts := strings.Split(good, ".")
	add := func(name, jws, differs string) {
		all = append(all, payload{name, signed.KindTransaction, jws, root, production, differs})
	}
	add("alg none", text(fields{"alg": "none"}), "")
	add("alg none, no signature", must(applesign.SigningInput(changed(a.Header(), fields{"alg": "none"}), transaction))+".", "")
	add("HS256", text(fields{"alg": "HS256"}), "")
	add("no alg", text(fields{"alg": nil}), "")
	add("x5c of 0", text(fields{"x5c": []string{}}), "")
	add("x5c of 2", text(fields{"x5c": x5c[:2]}), "")
	add("x5c of 4", text(fields{"x5c": append(append([]string{}, x5c...), x5c[2])}), "")
	add("no x5c", text(fields{"x5c": nil}), "")
	add("third certificate is garbage", text(fields{"x5c": []string{x5c[0], x5c[1], "AAAA"}}), theyTakeThird)
	add("kid and typ", text(fields{"kid": "k", "typ": "JWT"}), "")
	add("critical header", text(fields{"crit": []string{"new"}, "new": 1}), theyTakeExtension)
	add("no signature", parts[0]+"."+parts[1]+".", "")
	add("signature of zeros", parts[0]+"."+parts[1]+"."+base64.RawURLEncoding.EncodeToString(make([]byte, 64)), "")
	add("payload of another", parts[0]+"."+strings.Split(must(a.JWS(changed(transaction, fields{"price": 1}))), ".")[1]+"."+parts[2], "")
	add("line break inside", parts[0]+"."+parts[1][:8]+"\n"+parts[1][8:]+"."+parts[2], "")
	add("padding", parts[0]+"."+parts[1]+"=."+parts[2], "")
	add("two parts", parts[0]+"."+parts[1], "")
	add("empty", "", "")
	return all
}

// chains are those of forgers, and of a careless Apple.
func chains(good, foreign *applesign.Authority) (all []payload) {
	root := good.Certificates[applesign.Root]
	add := func(name string, a *applesign.Authority, root *x509.Certificate, differs string) {
		all = append(all, payload{name, signed.KindTransaction, must(a.JWS(transaction)), root, production, differs})
	}
	spoil := func(role applesign.Role, f func(*x509.Certificate)) *applesign.Authority {
		return must(applesign.New(applesign.Config{Change: func(r applesign.Role, c *x509.Certificate) {
			if r == role {
				f(c)
			}
		}}, good.Keys))
	}
	own := func(name string, role applesign.Role, differs string, f func(*x509.Certificate)) {
		a := spoil(role, f)
		add(name, a, a.Certificates[applesign.Root], differs)
	}
	add("root by name", foreign, root, "")
	add("unknown root", must(applesign.NewEC(applesign.Config{Change: func(_ applesign.Role, c *x509.Certificate) { c.Subject.CommonName += " Two" }})), root, "")
	template := *good.Certificates[applesign.Leaf]
	template.RawSubject, template.Subject.CommonName = nil, "Forged"
	forged := must(applesign.Issue(&template, good.Certificates[applesign.Leaf], foreign.Keys[applesign.Leaf].Public(), good.Keys[applesign.Leaf]))
	add("leaf as CA", &applesign.Authority{Certificates: [3]*x509.Certificate{root, good.Certificates[applesign.Leaf], forged}, Keys: foreign.Keys}, root, "")
	own("leaf without its mark", applesign.Leaf, "", func(c *x509.Certificate) { c.ExtraExtensions = nil })
	own("intermediate without its mark", applesign.Intermediate, "", func(c *x509.Certificate) { c.ExtraExtensions = nil })
	own("intermediate without CA flag", applesign.Intermediate, "", func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = false, false, false })
	own("leaf is a CA", applesign.Leaf, theyTakeAnyKey, func(c *x509.Certificate) { c.IsCA = true })
	own("leaf may not sign", applesign.Leaf, theyTakeAnyKey, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })
	own("intermediate may not issue", applesign.Intermediate, "", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	own("root allows no intermediate", applesign.Root, theyTakeAnyKey, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	own("without key usage", applesign.Intermediate, "", func(c *x509.Certificate) { c.KeyUsage = 0 })
	own("unknown critical extension", applesign.Leaf, theyTakeExtension, func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: asn1.NullBytes})
	})
	own("leaf expired since", applesign.Leaf, "", func(c *x509.Certificate) { c.NotAfter = signedAt.AddDate(0, 1, 0) })
	own("signed after its leaf", applesign.Leaf, "", func(c *x509.Certificate) { c.NotAfter = signedAt.Add(-time.Hour) })
	own("signed before its leaf", applesign.Leaf, "", func(c *x509.Certificate) { c.NotBefore = signedAt.Add(time.Hour) })
	return all
}

// corpus are the published payloads, under each of the roots that made any.
func corpus(t *testing.T) (all []payload) {
	t.Helper()
	if os.Getenv(corpustest.FolderVariable) == "" {
		t.Logf("%s is not set: simulated payloads only", corpustest.FolderVariable)
		return nil
	}
	for _, root := range corpustest.Entries(t, corpustest.KindCertificate) {
		der := root.Data
		if block, _ := pem.Decode(der); block != nil {
			der = block.Bytes
		}
		c, err := x509.ParseCertificate(der)
		if err != nil || !bytes.Equal(c.RawIssuer, c.RawSubject) {
			continue
		}
		for _, e := range corpustest.Entries(t, corpustest.KindJWS) {
			claims, err := signed.Peek(string(e.Data))
			if err != nil {
				continue // the body around one
			}
			p := payload{
				name: e.Name() + " under " + root.Name(), kind: claims.Kind, jws: strings.TrimSpace(string(e.Data)), root: c,
				app: signed.App{BundleID: claims.BundleID, Environment: claims.Environment},
			}
			if p.app.BundleID == "" {
				p.app.BundleID = bundleID
			}
			if claims.AppAppleID != nil {
				p.app.AppAppleID = *claims.AppAppleID
			}
			if p.app.Environment.Validate() != nil {
				p.app.Environment = iap.Sandbox // as Xcode their verifier would verify nothing
			}
			all = append(all, p)
		}
	}
	return all
}

func ours(t *testing.T, p payload) error {
	t.Helper()
	v, err := signed.New(signed.Config{Roots: []*x509.Certificate{p.root}})
	if err != nil {
		t.Fatal(err)
	}
	switch p.kind {
	case signed.KindRenewalInfo:
		_, err = v.RenewalInfo(t.Context(), p.jws, p.app, nil)
	case signed.KindAppTransaction:
		_, err = v.AppTransaction(t.Context(), p.jws, p.app)
	case signed.KindNotification:
		_, err = v.Notification(t.Context(), p.jws, p.app)
	default:
		_, err = v.Transaction(t.Context(), p.jws, p.app)
	}
	return err
}

// TestAgreement compares every verdict with that of Apple's library. A difference
// has a reason, and a reason that is none any more is an error as well.
func TestAgreement(t *testing.T) {
	t.Parallel()
	payloads := append(simulated(), corpus(t)...)
	requests := make([]interop.Request, len(payloads))
	for i, p := range payloads {
		requests[i] = interop.Request{
			Kind: string(p.kind), JWS: p.jws, Root: p.root.Raw, Environment: string(p.app.Environment), BundleID: p.app.BundleID, AppAppleID: p.app.AppAppleID,
		}
	}
	verdicts, err := interop.Judge(t.Context(), ".", requests)
	if errors.Is(err, interop.ErrNotInstalled) && os.Getenv(required) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	differences, verified := 0, 0
	for i, p := range payloads {
		err, theirs := ours(t, p), verdicts[i]
		if err != nil && pki.ReasonOf(err) == "" {
			t.Errorf("%s: got %v, want a reason", p.name, err)
		}
		switch same := theirs.Verified == (err == nil); {
		case !same && p.differs == "":
			t.Errorf("%s: we say %v, they say verified %t %s", p.name, err, theirs.Verified, theirs.Status)
		case same && p.differs != "":
			t.Errorf("%s: the verdicts are the same (%v), and should not be: %s", p.name, err, p.differs)
		case !same:
			differences++
			t.Logf("%s: we say %v, they say verified %t %s: %s", p.name, err, theirs.Verified, theirs.Status, p.differs)
		case err == nil:
			verified++
		}
	}
	t.Logf("%d payloads: %d verified by both, %d differences with a reason", len(payloads), verified, differences)
}
