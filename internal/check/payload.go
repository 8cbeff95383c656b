package check

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/appstore/signed"
	"revalidator/internal/iap"
)

// Payload is a JSON Web Signature of Apple's, and what it says. Only where the
// signature is verified Apple says so.
type Payload struct {
	Kind        signed.Kind     `json:"kind"`
	BundleID    string          `json:"bundle_id"`
	Environment iap.Environment `json:"environment"`
	ByteSize    int             `json:"byte_size"`
	Signature   Signature       `json:"signature"`
	// Content is the payload in Apple's words, with the payloads that are signed
	// within it decoded in their place.
	Content map[string]any `json:"content"`
}

// UnverifiedError is that a payload is not verified, which is a result.
type UnverifiedError struct{ Payload Payload }

func (e *UnverifiedError) Error() string {
	s := e.Payload.Signature
	if s.Verdict == Disproved {
		return fmt.Sprintf("this %s is not what it claims to be: %s", e.Payload.Kind.Text(), s.Error)
	}
	return fmt.Sprintf("the signature of this %s cannot be judged: %s", e.Payload.Kind.Text(), s.Error)
}

// payloadNames are the names under which Apple and its libraries send a payload.
var payloadNames = []string{
	"signedPayload", "signedTransactionInfo", "signedTransaction", "signedRenewalInfo", "signedAppTransactionInfo",
	"signed_transaction", "jwsRepresentation",
}

// findPayload is the JWS in a text, or in the one field of a JSON object that is
// known to hold one; empty where there is none of Apple's kinds. A token for the
// Server API is none: it is a secret, and its content is not shown.
func findPayload(data []byte) string {
	text := bytes.Trim(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n\"'")
	jws := string(text)
	if bytes.HasPrefix(text, []byte("{")) {
		var fields map[string]json.RawMessage
		if json.Unmarshal(text, &fields) != nil {
			return ""
		}
		jws = ""
		for _, name := range payloadNames {
			if jws == "" {
				_ = json.Unmarshal(fields[name], &jws) // what is no text is none
			}
		}
	}
	if !isJWS(jws) {
		return ""
	}
	if claims, err := signed.Peek(jws); err != nil || claims.Kind == "" {
		return ""
	}
	return jws
}

// isJWS recognises a JWS in compact form: "eyJ" is the base64 of `{"`.
func isJWS(text string) bool { return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2 }

// Payload verifies a JWS for an app, or for the one that it names.
func (v *Verifiers) Payload(ctx context.Context, jws, bundleID string) (Payload, error) {
	claims, err := signed.Peek(jws)
	if err != nil {
		return Payload{}, err
	}
	p := Payload{Kind: claims.Kind, BundleID: claims.BundleID, Environment: claims.Environment, ByteSize: len(jws), Content: contentOf(jws, 0)}
	if bundleID == "" {
		bundleID = claims.BundleID
	}
	signer, err := v.payload(ctx, jws, claims.Kind, bundleID)
	p.Signature = newSignature(signer, claims.SignedDate, err)
	if err != nil {
		return p, &UnverifiedError{p}
	}
	return p, nil
}

func (v *Verifiers) payload(ctx context.Context, jws string, kind signed.Kind, bundleID string) (pki.Signer, error) {
	app := signed.App{BundleID: bundleID}
	if bundleID == "" && kind != signed.KindRenewalInfo {
		return pki.Signer{}, pki.Errorf(pki.ReasonNoApp, "")
	}
	switch kind {
	case signed.KindTransaction:
		t, err := v.Payloads.Transaction(ctx, jws, app)
		return t.Signer, err
	case signed.KindRenewalInfo:
		r, err := v.Payloads.RenewalInfo(ctx, jws, app, nil)
		return r.Signer, err
	case signed.KindAppTransaction:
		a, err := v.Payloads.AppTransaction(ctx, jws, app)
		return a.Signer, err
	}
	n, err := v.Payloads.Notification(ctx, jws, app)
	return n.Signer, err
}

// maxNested is how deep Apple signs payloads within payloads, and then some.
const maxNested = 3

// contentOf decodes a payload that Peek has read.
func contentOf(jws string, depth int) map[string]any {
	parts := strings.Split(jws, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var content map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // ids and prices keep their digits
	if decoder.Decode(&content) != nil {
		return nil
	}
	openNested(content, depth)
	return content
}

// openNested puts the content of each JWS in its place.
func openNested(fields map[string]any, depth int) {
	for name, value := range fields {
		switch value := value.(type) {
		case map[string]any:
			openNested(value, depth)
		case string:
			if depth == maxNested || !isJWS(value) {
				continue
			}
			if inner := contentOf(value, depth+1); inner != nil {
				fields[name] = inner
			}
		}
	}
}
