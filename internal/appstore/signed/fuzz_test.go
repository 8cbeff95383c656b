package signed_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/appstore/signed"
	"revalidator/internal/iap"
)

// FuzzVerify hands in any text: a refusal has a reason, and what is verified was
// signed.
func FuzzVerify(f *testing.F) {
	v := newVerifier(f)
	for _, payload := range []any{transaction(), renewalInfo(), appTransaction(), notification(f, nil), []byte(`{}`), []byte(`[`)} {
		f.Add(jws(f, authority(), payload))
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := check(t, v, text, app)
		if err != nil && pki.ReasonOf(err) == "" {
			t.Fatalf("got %v, want a reason", err)
		}
		again, errAgain := check(t, v, text, app)
		if pki.ReasonOf(err) != pki.ReasonOf(errAgain) {
			t.Fatalf("got %v, and then %v", err, errAgain)
		}
		if tx, ok := again.(signed.Transaction); ok && err == nil && (tx.BundleID != bundleID || !tx.SignedDate.Equal(signedAt)) {
			t.Fatalf("verified what was never signed: %+v", tx)
		}
	})
}

// FuzzDecode signs any payload: nothing in it is an error but what says which app
// and date it is of.
func FuzzDecode(f *testing.F) {
	v := newVerifier(f)
	for _, payload := range []any{transaction(), renewalInfo(), appTransaction(), notification(f, nil)} {
		text, err := json.Marshal(payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"bundleId":"` + bundleID + `","environment":"Sandbox","signedDate":1700000000000.5,"price":1e3,"a":[{"b":"}"}],"price":null}`))
	f.Add([]byte(` { "data" : [ ] , "data" : { "status" : 9e99 } } `))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := check(t, v, jws(t, authority(), payload), app)
		if err != nil && pki.ReasonOf(err) == "" {
			t.Fatalf("got %v, want a reason", err)
		}
		if tx, ok := got.(signed.Transaction); ok && err == nil {
			checkTransaction(t, tx, payload)
		}
	})
}

// checkTransaction looks for what a database would refuse, and compares with
// encoding/json where that reads the same.
func checkTransaction(t *testing.T, tx signed.Transaction, payload []byte) {
	t.Helper()
	for _, text := range []string{tx.TransactionID, tx.ProductID, tx.Currency, tx.OfferIdentifier, tx.AppAccountToken} {
		if len(text) > 1024 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' }) {
			t.Errorf("got %q, want clean text", text)
		}
	}
	for _, date := range []time.Time{tx.SignedDate, tx.ExpiresDate, tx.PurchaseDate} {
		if y := date.Year(); !date.IsZero() && (y < 2000 || y > 2199) {
			t.Errorf("got a date in the year %d", y)
		}
	}
	if len(tx.Unknown) > 65 {
		t.Errorf("counted %d names", len(tx.Unknown))
	}
	facts := signed.Facts(tx, nil)
	iap.Derive(&facts)
	var want map[string]any
	if json.Unmarshal(payload, &want) != nil || strings.Contains(string(payload), `\`) {
		return
	}
	if id, ok := want["transactionId"].(string); ok && len(id) < 1000 && clean(id) && strings.Count(string(payload), "transactionId") == 1 && tx.TransactionID != id {
		t.Errorf("got transaction id %q, want %q", tx.TransactionID, id)
	}
}

func clean(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f || c == utf8.RuneError })
}

func BenchmarkVerify(b *testing.B) {
	v, text := newVerifier(b), jws(b, authority(), transaction())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Transaction(context.Background(), text, app); err != nil {
			b.Fatal(err)
		}
	}
}
