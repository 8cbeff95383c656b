package receipt

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"revalidator/internal/dev/corpustest"
)

// TestNamesEveryJWS names the published ones, by what an independent script found
// in them.
func TestNamesEveryJWS(t *testing.T) {
	t.Parallel()
	for _, e := range corpustest.Entries(t, corpustest.KindJWS) {
		if !strings.HasSuffix(e.File, ".jws") {
			continue
		}
		var found struct {
			NotificationType string
			Data             any
			ReceiptType      string
			BundleID         string `json:"bundleId"`
			Environment      string
		}
		e.Expect(t, &found)
		want := "a signed renewal info (JWS)"
		switch {
		case found.NotificationType != "":
			want = "a signed App Store Server Notification V2 (JWS) of type " + found.NotificationType
		case found.ReceiptType != "":
			want = "a signed app transaction (JWS)"
		case found.BundleID != "":
			want = "a signed transaction (JWS)"
		}
		if found.ReceiptType == "Xcode" || found.Environment == "Xcode" {
			want += " of StoreKit testing in Xcode"
		}
		for form, text := range map[string]string{
			"itself": string(e.Data), "quoted": `"` + string(e.Data) + `"`, "in JSON": `{"receipt-data":"` + string(e.Data) + `"}`,
		} {
			_, err := Parse([]byte(text))
			if !errors.Is(err, ErrNotAReceipt) || !strings.Contains(err.Error(), "that is "+want+",") {
				t.Errorf("%s, %s: got %v, want %s", e.File, form, err, want)
			}
		}
	}
}

func TestNameOfJWS(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`{"transactionId":"1","productId":"x"}`:                      "a signed transaction (JWS), not",
		`{"autoRenewStatus":1,"originalTransactionId":"1"}`:          "a signed renewal info (JWS), not",
		`{"notificationType":"DID_RENEW","data":{}}`:                 "Notification V2 (JWS) of type DID_RENEW, which",
		`{"notificationType":"eyJhbGciOiJFUzI1NiJ9"}`:                "Notification V2 (JWS), which",
		`{"notificationType":5}`:                                     "Notification V2 (JWS), which",
		`{"receiptType":"Production","bundleId":"x","signedDate":1}`: "a signed app transaction (JWS), not",
		`{"receiptType":"LocalTesting","bundleId":"x"}`:              "a signed app transaction (JWS) of StoreKit testing in Xcode, not",
		`{"iss":"x","aud":"appstoreconnect-v1","iat":1,"bid":"x"}`:   "a token for the App Store Server API (JWT): keep it secret",
		`{}`:            "a JWS of unknown content",
		`no JSON`:       "a JWS whose payload cannot be read",
		"{\"\xff\":1}x": "a JWS whose payload cannot be read",
	}
	for payload, want := range tests {
		text := "eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
		if got := nameOfJWS([]byte(text)); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", payload, got, want)
		}
	}
}
