package main

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/applesign"
	"revalidator/internal/terminal"
)

// signedShop is a session with an app, a chain that it trusts, and a function that
// signs a monthly period of one subscription.
func signedShop(t *testing.T) (s *session, sign func(signedAt, expires time.Time, changes map[string]any) string) {
	t.Helper()
	a, err := applesign.NewEC(applesign.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s = newSession(t)
	s.must(t, "migrate")
	s.must(t, "apps", "add", readerApp)
	s.trust(t, a)
	return s, func(signedAt, expires time.Time, changes map[string]any) string {
		fields := map[string]any{
			"transactionId": "2000", "originalTransactionId": "1000", "bundleId": readerApp, "productId": "com.example.reader.monthly",
			"type": "Auto-Renewable Subscription", "environment": "Production", "purchaseDate": expires.AddDate(0, -1, 0).UnixMilli(),
			"originalPurchaseDate": expires.AddDate(0, -1, 0).UnixMilli(), "expiresDate": expires.UnixMilli(), "signedDate": signedAt.UnixMilli(),
			"inAppOwnershipType": "PURCHASED", "quantity": 1,
		}
		maps.Copy(fields, changes)
		jws, err := a.JWS(fields)
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
}

// signedLines are lines of NDJSON, of one customer each.
func signedLines(t *testing.T, all ...string) string {
	t.Helper()
	var text strings.Builder
	for i, jws := range all {
		line, err := json.Marshal(map[string]string{"bundle_id": readerApp, "customer_ref": string(rune('a' + i)), "signed_transaction": jws})
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	return writeFile(t, "signed.ndjson", text.String())
}

// TestImportSigned stores what a signed transaction says as of its signing date,
// never moves a subscription backwards, and plans it daily until a source can ask.
func TestImportSigned(t *testing.T) {
	t.Parallel()
	s, sign := signedShop(t)
	now := time.Now().UTC().Truncate(time.Second)
	later := sign(now.Add(-time.Hour), now.AddDate(0, 0, 20), map[string]any{"transactionId": "2001"})
	older := sign(now.AddDate(0, 0, -40), now.AddDate(0, 0, -10), nil)
	// The period before, signed after the newer one was.
	resigned := sign(now.Add(-time.Minute), now.AddDate(0, 0, -10), nil)
	file := signedLines(t, later, older, resigned)
	s.must(t, "import", file)
	s.must(t, "import", file) // again
	if n := s.count(t, `SELECT count(*) FROM subscriptions WHERE transaction_id = '2001' AND expires_date > now() AND original_transaction_id = '1000' AND status = 'active'`); n != 1 {
		t.Errorf("%d rows have the newer period, want the subscription not to move backwards", n)
	}
	if n := s.count(t, `SELECT count(*) FROM receipt_subscriptions`); n != 3 {
		t.Errorf("%d links, want each transaction to show the subscription", n)
	}
	if n := s.count(t, `SELECT count(*) FROM subscription_events`); n == 0 {
		t.Error("no events, want that of the first sight")
	}
	const planned = `SELECT count(*) FROM receipts WHERE kind = 'signed_transaction' AND signature = 'verified' AND last_error = 'no_source'
		AND covered_by IS NULL AND state = 'new' AND next_check_at BETWEEN now() + interval '23 hours' AND now() + interval '25 hours'`
	if n := s.count(t, planned); n != 3 {
		t.Errorf("%d receipts are planned for tomorrow without a source, want all 3", n)
	}
	s.must(t, "secrets", "add", "--app", readerApp, "--file", writeFile(t, "secret", someSecret))
	s.exec(t, `UPDATE receipts SET next_check_at = now() - interval '1 minute'`)
	s.run(t, "run", "--worker", "--quiet")
	if n := s.count(t, planned); n != 3 {
		t.Errorf("%d receipts are planned for tomorrow again after a run, want all 3", n)
	}
	if o, states := s.examined(t, "--offline"); states["no_source"] != "failure" || !strings.Contains(o.stdout, "3 of "+readerApp) {
		t.Errorf("doctor: got %s, want a failure with the count\n%s", states["no_source"], o.stdout)
	}
	if o := s.must(t, "explain", "1", "--as", "receipt"); !strings.Contains(o.stdout, "signed transaction") {
		t.Errorf("explain: got\n%s", o.stdout)
	}
	if report := s.checkedStored(t, "1"); report.Payload == nil || report.Payload.Signature.Verdict != "verified" {
		t.Errorf("check --receipt: got %+v, want the stored transaction verified", report)
	}
}

// TestImportSignedRefused refuses what is disproved, and keeps what may be genuine
// without believing it.
func TestImportSignedRefused(t *testing.T) {
	t.Parallel()
	s, sign := signedShop(t)
	now := time.Now().UTC()
	good := sign(now.Add(-time.Hour), now.AddDate(0, 0, 20), nil)
	header, payload, _ := strings.Cut(good, ".")
	_, otherRest, _ := strings.Cut(sign(now.Add(-time.Hour), now.AddDate(0, 0, 30), nil), ".")
	forged := header + "." + payload[:strings.Index(payload, ".")] + otherRest[strings.Index(otherRest, "."):]
	xcode := sign(now.Add(-time.Hour), now, map[string]any{"environment": "Xcode"})
	other := sign(now.Add(-time.Hour), now, map[string]any{"bundleId": fitnessApp})
	future := sign(now.Add(time.Hour), now.AddDate(0, 0, 20), nil)
	file := signedLines(t, forged, xcode, other, "not a JWS", future)
	o := s.run(t, "import", file)
	if o.code != terminal.ExitFailures {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	rejects, err := os.ReadFile(file + ".rejects.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(rejects)), "\n")
	for i, want := range []string{"bad_signature", "Xcode", "wrong_app", "malformed"} {
		if i >= len(lines) || !strings.Contains(lines[i], want) || !strings.Contains(lines[i], `"signed_transaction"`) {
			t.Errorf("reject %d: want %q with the transaction in\n%s", i+1, want, rejects)
		}
	}
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE signature = 'signed_in_future' AND last_error = 'no_source'`); n != 1 {
		t.Errorf("%d are kept for later, want the one of the future", n)
	}
	if n := s.count(t, `SELECT count(*) FROM subscriptions`); n != 0 {
		t.Errorf("%d subscriptions, want none believed", n)
	}
}

// TestImportMarksReceipts whose signature is not verified, or refuses them.
func TestImportMarksReceipts(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 3)
	if n := s.count(t, `SELECT count(*) FROM receipts WHERE signature = 'verified'`); n != 3 {
		t.Errorf("%d receipts are verified, want all 3", n)
	}
	strangers := newSession(t)
	sim := strangers.appStore(t, 3)
	strangers.set("REVALIDATOR_APPLE_ROOTS", "")
	strangers.must(t, "migrate")
	for _, app := range []string{readerApp, fitnessApp} {
		strangers.must(t, "apps", "add", app)
	}
	file := receiptsFile(t, sim)
	strangers.set("REVALIDATOR_REFUSE_UNVERIFIED", "true")
	if o := strangers.run(t, "import", file); o.code != terminal.ExitFailures || strangers.count(t, `SELECT count(*) FROM receipts`) != 0 {
		t.Errorf("exit code %d, want all refused\n%s", o.code, o.stdout)
	}
	strangers.set("REVALIDATOR_REFUSE_UNVERIFIED", "")
	if o := strangers.must(t, "import", file); !strings.Contains(o.stdout, "without a verified signature") {
		t.Errorf("import: got\n%s", o.stdout)
	}
	if n := strangers.count(t, `SELECT count(*) FROM receipts WHERE signature = 'unknown_root' AND next_check_at IS NOT NULL`); n != 3 {
		t.Errorf("%d receipts are marked, want all 3", n)
	}
}
