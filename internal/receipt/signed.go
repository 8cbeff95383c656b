package receipt

import (
	"bytes"
	"encoding/json"
	"strings"
)

// isJWS recognises the start of a JSON Web Signature in compact form: "eyJ" is
// the base64 of `{"`, and a full stop, which base64 lacks, ends its header.
func isJWS(text []byte) bool {
	return bytes.HasPrefix(text, []byte("eyJ")) && bytes.IndexByte(text, '.') > 0
}

// nameOfJWS names what a JSON Web Signature carries and says what to hand in. It
// goes by the keys of the payload, which nobody has verified.
func nameOfJWS(text []byte) string {
	payload := payloadOf(text)
	if payload == nil {
		return "a JWS whose payload cannot be read, not a receipt: " + sendFile
	}
	what, carries := "a JWS of unknown content", ", not a receipt: "+sendFile
	has := func(names ...string) bool {
		for _, name := range names {
			if payload[name] != nil {
				return true
			}
		}
		return false
	}
	switch {
	case has("notificationType"):
		what, carries = "a signed App Store Server Notification V2 (JWS)"+notificationType(payload), ", which carries no receipt"
	case has("receiptType", "receiptCreationDate", "originalApplicationVersion"):
		what = "a signed app transaction (JWS)"
	case has("autoRenewStatus", "autoRenewProductId", "renewalDate", "recentSubscriptionStartDate"):
		what = "a signed renewal info (JWS)"
	case has("transactionId", "originalTransactionId", "productId"), has("bundleId") && has("signedDate"):
		what = "a signed transaction (JWS)"
	case has("iss") && has("aud"):
		what = "a token for the App Store Server API (JWT): keep it secret"
	case has("signedDate"):
		// A renewal info of the least: unlike a transaction it names no app.
		what = "a signed renewal info (JWS)"
	}
	return what + ofXcode(payload) + carries
}

// payloadOf reads the second part of a JSON Web Signature; nil where that is no
// JSON object.
func payloadOf(text []byte) map[string]json.RawMessage {
	parts := bytes.SplitN(text, []byte("."), 3)
	if len(parts) < 2 {
		return nil
	}
	data, err := decodeBase64(parts[1])
	if err != nil {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil
	}
	return fields
}

// notificationType names the type of a notification, where it is spelt as Apple's
// are.
func notificationType(payload map[string]json.RawMessage) string {
	var name string
	if json.Unmarshal(payload["notificationType"], &name) != nil || name == "" || len(name) > 40 ||
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return ""
	}
	return " of type " + name
}

func ofXcode(payload map[string]json.RawMessage) string {
	for _, name := range []string{"environment", "receiptType"} {
		if value := string(payload[name]); value == `"Xcode"` || value == `"LocalTesting"` {
			return " of StoreKit testing in Xcode"
		}
	}
	return ""
}
