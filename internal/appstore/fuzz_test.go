package appstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// namedErrors are all errors that reading from memory may end with.
func namedErrors() []error {
	return []error{
		appstore.ErrEmptyReply, appstore.ErrNotJSON, appstore.ErrCutReply,
		appstore.ErrMalformedReply, appstore.ErrReplyTooLarge,
	}
}

func FuzzDecodeReply(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `[`, `<html>`, "\ufeff{}", accepted, `{"status":21002,"exception":"a: b"}`,
		`{"status":0,"receipt":{"bid":"a","transaction_id":1,"expires_date":"1738368000000"},"auto_renew_status":1}`,
		`{"status":"0","receipt":{"bundle_id":"\u0061\ud83d\ude00","in_app":[` + fullTransaction + `]}}`,
		`{"latest_receipt_info":[` + fullTransaction + `],"pending_renewal_info":[` + fullRenewal + `],"status":0}`,
		`{"latest_receipt":"` + strings.Repeat(`A\/`, 20_000) + `","status":-1}`,
		`{"a":[[[[{"b":[null,true,-1.5e+3]}]]]],"status":0}`,
		`{"status":2147483648,"latest_receipt_info":[{"transaction_id":"` + strings.Repeat("4", 3000) + `","expires_date_ms":"253402300799999"}]}`,
		"{\"status\":0,\"receipt\":{\"bundle_id\":\"a\x01\xff\"}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := appstore.DecodeReply(bytes.NewReader(body), appstore.Limits{MaxRecords: 100})
		if err != nil && !isNamed(err) {
			t.Fatalf("got error %v, want one with a name", err)
		}
		if len(got.Facts.Transactions()) > 100 || len(got.Unknown) > 80 {
			t.Fatalf("got %d transactions and %d names", len(got.Facts.Transactions()), len(got.Unknown))
		}
		checkTexts(t, got)
		checkConclusion(t, got)
		compare(t, body, got, err)
	})
}

func isNamed(err error) bool {
	for _, named := range namedErrors() {
		if errors.Is(err, named) {
			return true
		}
	}
	return false
}

// checkTexts looks for what a database would refuse.
func checkTexts(t *testing.T, r appstore.Reply) {
	t.Helper()
	texts := []string{r.Facts.BundleID, r.Exception}
	for _, tr := range r.Facts.Transactions() {
		texts = append(texts, tr.TransactionID, tr.OriginalTransactionID, tr.ProductID, tr.AppAccountToken)
		for _, date := range []time.Time{tr.ExpiresDate, tr.PurchaseDate, tr.OriginalPurchaseDate, tr.CancellationDate} {
			if y := date.Year(); !date.IsZero() && (y < 2000 || y > 2199) {
				t.Errorf("got a date in the year %d", y)
			}
		}
	}
	for _, text := range texts {
		if len(text) > 256 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' }) {
			t.Errorf("got %q, want clean text", text)
		}
	}
	if r.Code < math.MinInt32 || r.Code > math.MaxInt32 {
		t.Errorf("got status %d", r.Code)
	}
}

// checkConclusion derives from whatever was read: each dated transaction belongs to
// a subscription, each other one to a subscription or to a purchase at most, and
// Merge with facts of the same time changes nothing.
func checkConclusion(t *testing.T, r appstore.Reply) {
	t.Helper()
	c := iap.Derive(&r.Facts)
	subscriptions := make(map[string]bool)
	for _, s := range c.Subscriptions {
		subscriptions[s.OriginalTransactionID] = true
		if diff := cmp.Diff(s, first(iap.Merge(s, s)), cmpopts.IgnoreTypes(iap.Evidence{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("merged with itself (-before +after)\n%s", diff)
		}
	}
	for _, id := range c.Undated {
		subscriptions[id] = true
	}
	if len(subscriptions) != len(c.Subscriptions)+len(c.Undated) {
		t.Errorf("derived %d and %d undated subscriptions, some of them twice", len(c.Subscriptions), len(c.Undated))
	}
	other := 0
	for _, tr := range r.Facts.Transactions() {
		if tr.IsSubscription() && !subscriptions[tr.OriginalTransactionID] {
			t.Errorf("derived no subscription %q, which is shown", tr.OriginalTransactionID)
		}
		if !subscriptions[tr.OriginalTransactionID] {
			other++
		}
	}
	if len(c.Purchases) > other {
		t.Errorf("derived %d purchases from %d transactions", len(c.Purchases), other)
	}
}

func first[T, U any](t T, _ U) T { return t }

// compare reads valid JSON with encoding/json as well: the two must agree on
// whether it can be read, on the status and on the bundle id.
func compare(t *testing.T, body []byte, got appstore.Reply, err error) {
	t.Helper()
	var want struct {
		Status  json.Number
		Receipt struct {
			BundleID string `json:"bundle_id"`
			BID      string `json:"bid"`
		}
	}
	if !json.Valid(body) || json.Unmarshal(body, &want) != nil || !plain(body) {
		return
	}
	unusable := func(known error) bool { return errors.Is(err, known) }
	if err != nil && !slices.ContainsFunc([]error{
		appstore.ErrNoStatus, appstore.ErrReplyTooLarge, appstore.ErrNotJSON, appstore.ErrUnusableText, appstore.ErrNoTime,
	}, unusable) {
		t.Errorf("got error %v for valid JSON", err)
	}
	if err != nil {
		return
	}
	if n, err := want.Status.Int64(); err == nil && int64(got.Code) != n {
		t.Errorf("got status %d, want %d", got.Code, n)
	}
	id := want.Receipt.BundleID
	if id == "" {
		id = want.Receipt.BID
	}
	if normal(got.Facts.BundleID) != normal(id) {
		t.Errorf("got bundle id %q, want %q", got.Facts.BundleID, id)
	}
}

// plain reports whether every key comes once in each object and is spelled as
// Apple spells it: encoding/json merges objects that come twice and ignores
// the case of keys.
func plain(body []byte) bool {
	lower := strings.ToLower(string(body))
	for _, key := range []string{"status", "receipt", "bundle_id", "bid"} {
		quoted := `"` + key + `"`
		if strings.Count(lower, quoted) > 1 || strings.Count(lower, quoted) != strings.Count(string(body), quoted) {
			return false
		}
	}
	return !strings.Contains(lower, `\u`) && len(body) < 4<<10
}

func normal(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == utf8.RuneError {
			return -1
		}
		return c
	}, text)
}
