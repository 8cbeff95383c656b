package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"revalidator/internal/check"
	"revalidator/internal/dev/applesign"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/corpustest"
	"revalidator/internal/terminal"
)

// signing is a chain of certificates for JWS, and a session that trusts it.
func signing(t *testing.T) (*session, *applesign.Authority) {
	t.Helper()
	a, err := applesign.NewEC(applesign.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{}
	s.trust(t, a)
	return s, a
}

// trust has the session take a chain for Apple's.
func (s *session) trust(t *testing.T, a *applesign.Authority) {
	t.Helper()
	s.set("REVALIDATOR_APPLE_PRODUCTION_URL", "http://127.0.0.1:1/")
	s.set("REVALIDATOR_APPLE_SANDBOX_URL", "http://127.0.0.1:1/")
	s.set("REVALIDATOR_APPLE_ROOTS", rootsFile(t, a.Certificates[0]))
}

// payloads is one of each kind, by its name; a notification has two others in it.
func payloads(t *testing.T, a *applesign.Authority) map[string]string {
	t.Helper()
	sign := func(fields map[string]any) string {
		jws, err := a.JWS(fields)
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
	signedDate := appStart.UnixMilli()
	transaction := sign(map[string]any{
		"transactionId": "2000", "originalTransactionId": "1000", "bundleId": readerApp, "productId": "com.example.reader.monthly",
		"type": "Auto-Renewable Subscription", "environment": "Production", "signedDate": signedDate, "expiresDate": appStart.AddDate(0, 1, 0).UnixMilli(),
	})
	renewal := sign(map[string]any{
		"originalTransactionId": "1000", "autoRenewProductId": "com.example.reader.monthly", "autoRenewStatus": 1,
		"environment": "Production", "signedDate": signedDate,
	})
	return map[string]string{
		"transaction": transaction, "renewal_info": renewal,
		"app_transaction": sign(map[string]any{"receiptType": "Production", "bundleId": readerApp, "receiptCreationDate": signedDate}),
		"notification": sign(map[string]any{
			"notificationType": "DID_RENEW", "notificationUUID": "11111111-2222-3333-4444-555555555555", "version": "2.0", "signedDate": signedDate,
			"data": map[string]any{
				"bundleId": readerApp, "environment": "Production", "status": 1,
				"signedTransactionInfo": transaction, "signedRenewalInfo": renewal,
			},
		}),
	}
}

// TestCheckPayload verifies and shows one payload of each kind, and asks nobody.
func TestCheckPayload(t *testing.T) {
	t.Parallel()
	s, a := signing(t)
	all := payloads(t, a)
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		file := writeFile(t, kind+".jws", all[kind]+"\n")
		s.must(t, "check", file)
		report := s.checked(t, file)
		p := report.Payload
		if p == nil || string(p.Kind) != kind || p.Signature.Verdict != check.Verified || p.Signature.Signer == nil || report.Receipt != nil || report.NotAsked != nil {
			t.Errorf("%s: got %+v, want it named and verified", kind, report)
		}
	}
	body := writeFile(t, "body.json", `{"signedPayload":"`+all["notification"]+`"}`)
	p := s.checked(t, body).Payload
	data, _ := p.Content["data"].(map[string]any)
	inner, _ := data["signedTransactionInfo"].(map[string]any)
	if inner["transactionId"] != "2000" {
		t.Errorf("got %v, want the transaction within the notification", p.Content)
	}
	people := &session{env: s.env}
	people.must(t, "check", body)
	checkWidth(t, results(people.transcript.String()))
	// Certificates are of one length or another.
	golden(t, "check-payload.txt", regexp.MustCompile(`[\d,]+ bytes`).ReplaceAllString(people.transcript.String(), "<size> bytes"))
}

// TestCheckPayloadNotVerified says why, and still shows what the payload says.
func TestCheckPayloadNotVerified(t *testing.T) {
	t.Parallel()
	s, a := signing(t)
	jws := payloads(t, a)["transaction"]
	header, rest, _ := strings.Cut(jws, ".")
	other := payloads(t, applesign.Must(applesign.NewEC(applesign.Config{})))["transaction"]
	_, otherRest, _ := strings.Cut(other, ".")
	none, err := applesign.SigningInput(map[string]any{"alg": "none"}, map[string]any{"transactionId": "1", "bundleId": readerApp})
	if err != nil {
		t.Fatal(err)
	}
	xcode, err := a.JWS(map[string]any{"transactionId": "1", "bundleId": readerApp, "environment": "Xcode", "signedDate": appStart.UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		jws, app string
		verdict  check.Verdict
		reason   string
	}{
		"another signature": {header + "." + otherRest, "", check.Disproved, "bad_signature"},
		"another app":       {header + "." + rest, fitnessApp, check.Disproved, "wrong_app"},
		"unsigned":          {none + ".", "", check.Disproved, "unsigned"},
		"of Xcode":          {xcode, "", check.Disproved, "test_environment"},
		// Its root has the name of ours and another key.
		"a root by name": {other, "", check.Disproved, "chain_signature"},
	} {
		args := []string{"check", "--json", writeFile(t, "jws", test.jws)}
		if test.app != "" {
			args = append(args, "--app", test.app)
		}
		o := s.run(t, args...)
		var report check.Report
		if err := json.Unmarshal([]byte(o.stdout), &report); err != nil || report.Payload == nil {
			t.Errorf("%s: exit code %d, %v\n%s%s", name, o.code, err, o.stdout, o.stderr)
			continue
		}
		g := report.Payload.Signature
		if o.code != terminal.ExitFailures || g.Verdict != test.verdict || string(g.Reason) != test.reason || g.Signer != nil || len(report.Payload.Content) == 0 {
			t.Errorf("%s: got exit code %d and %+v, want %s for %s", name, o.code, g, test.verdict, test.reason)
		}
	}
}

// TestCheckSecretTokens never shows what is in a token for the Server API.
func TestCheckSecretTokens(t *testing.T) {
	t.Parallel()
	s, a := signing(t)
	token, err := a.JWS(map[string]any{"iss": "the-issuer", "aud": "appstoreconnect-v1", "bid": readerApp})
	if err != nil {
		t.Fatal(err)
	}
	o := s.run(t, "check", writeFile(t, "token", token))
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "keep it secret") || strings.Contains(o.stdout+o.stderr, "the-issuer") {
		t.Errorf("got exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// TestCheckReceiptSignature says who signed a receipt: the simulated App Store
// where its root is trusted, nobody known otherwise.
func TestCheckReceiptSignature(t *testing.T) {
	t.Parallel()
	s := &session{}
	file := receiptFile(t, s.storyStore(t, stories()...), 0)
	g := s.checked(t, file).Receipt.Signature
	if g.Verdict != check.Verified || g.Signer == nil || g.Signer.Name != "Simulated App Store Receipt Signing" || g.SignedAt == nil {
		t.Errorf("got %+v, want it verified", g)
	}
	if g := (&session{}).checked(t, file).Receipt.Signature; g.Verdict != check.Undetermined || g.Reason != "unknown_root" || g.Signer != nil {
		t.Errorf("got %+v, want an unknown root where only Apple's are trusted", g)
	}
}

// TestCheckRoots refuses files that hold no roots.
func TestCheckRoots(t *testing.T) {
	t.Parallel()
	s, a := signing(t)
	file := writeFile(t, "jws", payloads(t, a)["transaction"])
	for roots, want := range map[string]string{"no-such-file": "no such file", writeFile(t, "empty.pem", "nothing"): "no certificate"} {
		s.set("REVALIDATOR_APPLE_ROOTS", roots)
		if o := s.run(t, "check", file); o.code != terminal.ExitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: got exit code %d, %s", roots, o.code, o.stderr)
		}
	}
}

// TestCheckCorpusSignatures names and judges every published JWS, and every
// published receipt, as the script found them.
func TestCheckCorpusSignatures(t *testing.T) {
	t.Parallel()
	s, people := &session{}, &session{}
	verified := 0
	for _, e := range corpustest.Entries(t, corpustest.KindJWS) {
		var want struct {
			AppleRoot bool `json:"chains_to_apple_root_g3"`
			X5C       int  `json:"x5c_len"`
		}
		e.Expect(t, &want)
		o := people.run(t, "check", e.Path)
		report := s.checked(t, e.Path)
		p := report.Payload
		if p == nil || p.Kind == "" || p.Signature.Verdict == "" || o.code == terminal.ExitFailure {
			t.Errorf("%s: got exit code %d and %+v, want it named and judged", e.File, o.code, report)
			continue
		}
		isVerified := p.Signature.Verdict == check.Verified
		if want.X5C > 0 && isVerified != want.AppleRoot {
			t.Errorf("%s: got %+v, want verified %t", e.File, p.Signature, want.AppleRoot)
		}
		if isVerified {
			verified++
		}
	}
	if verified == 0 {
		t.Error("no JWS is verified")
	}
	if text := people.transcript.String(); strings.Contains(text, "…") {
		t.Error("a value is cut, where there is no terminal")
	}
	checkWidth(t, results(people.transcript.String()))
}

// TestForgedReceipts has Apple refuse all receipts. The one that was changed is
// quarantined at once; of the others Apple's own signature says that Apple is failing.
func TestForgedReceipts(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 3)
	r, err := sim.Receipt(0)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(r.Data)
	forged[len(forged)-10] ^= 1 // within the signature
	s.must(t, "import", writeFile(t, "forged.ndjson", `{"receipt":"`+base64.StdEncoding.EncodeToString(forged)+`","customer_ref":"forger","bundle_id":"`+readerApp+`"}`))
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultCode, Rate: 1, Status: 21003}}); err != nil {
		t.Fatal(err)
	}
	s.set("REVALIDATOR_RETRY_LIMIT", "1")
	s.run(t, "run", "--worker", "--quiet")
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE state = 'forged' AND next_check_at IS NULL AND last_error = 'forged'`); n != 1 {
		t.Errorf("%d receipts are forged, want the one that was changed", n)
	}
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE state = 'new' AND next_check_at IS NOT NULL AND last_error = 'refused_genuine'`); n != 3 {
		t.Errorf("%d receipts are refused and genuine, want all 3 others", n)
	}
	if o := s.must(t, "receipts", "quarantined"); !strings.Contains(o.stdout, "forged") {
		t.Errorf("quarantined: got\n%s", o.stdout)
	}
}

// checkedStored is the report of a check of a stored receipt.
func (s *session) checkedStored(t *testing.T, id string) check.Report {
	t.Helper()
	return s.checked(t, "--receipt", id)
}
