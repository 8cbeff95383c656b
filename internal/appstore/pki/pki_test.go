package pki_test

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"revalidator/internal/appstore/pki"
)

// TestRoots compares with the fingerprints that Apple publishes.
// https://www.apple.com/certificateauthority/
func TestRoots(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		root        *x509.Certificate
		fingerprint string
	}{
		"Apple Root CA":      {pki.AppleRootCA(), "B0:B1:73:0E:CB:C7:FF:45:05:14:2C:49:F1:29:5E:6E:DA:6B:CA:ED:7E:2C:68:C5:BE:91:B5:A1:10:01:F0:24"},
		"Apple Root CA - G3": {pki.AppleRootCAG3(), "63:34:3A:BF:B8:9A:6A:03:EB:B5:7E:9B:3F:5F:A7:BE:7C:4F:5C:75:6F:30:17:B3:A8:C4:88:C3:65:3E:91:79"},
	}
	for name, test := range tests {
		got := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(test.root.Raw)), " ", ":")
		if got != test.fingerprint || test.root.Subject.CommonName != name {
			t.Errorf("%s: got %s of %s, want %s", name, got, test.root.Subject.CommonName, test.fingerprint)
		}
		if left := time.Until(test.root.NotAfter); left < 365*24*time.Hour {
			t.Errorf("%s expires on %s", name, test.root.NotAfter.Format(time.DateOnly))
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := map[pki.Reason]struct {
		class     error
		retryable bool
	}{
		pki.ReasonUnknownRoot:       {pki.ErrUndetermined, false},
		pki.ReasonSignedInFuture:    {pki.ErrUndetermined, true},
		pki.ReasonRevocationUnknown: {pki.ErrUndetermined, true},
		pki.ReasonBadSignature:      {pki.ErrDisproved, false},
		pki.ReasonLeafOID:           {pki.ErrDisproved, false},
		pki.ReasonWrongApp:          {pki.ErrDisproved, false},
		"something new":             {pki.ErrUndetermined, false},
	}
	for reason, want := range tests {
		err := pki.Errorf(reason, "detail")
		wrapped := fmt.Errorf("inner: %w", err)
		if !errors.Is(wrapped, want.class) || err.Retryable() != want.retryable || pki.ReasonOf(wrapped) != reason {
			t.Errorf("%s: got %v, retryable %t", reason, err, err.Retryable())
		}
		if text := err.Error(); text != fmt.Sprintf("%v: %s: detail", want.class, reason) {
			t.Errorf("got %q", text)
		}
	}
	if reason := pki.ReasonOf(errors.New("other")); reason != "" {
		t.Errorf("got reason %s of another error", reason)
	}
}

// TestReasonsAreDocumented compares the list with the manual.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/signatures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "## Undetermined")
	undetermined, disproved, _ := strings.Cut(after, "## Disproved")
	for _, reason := range pki.Reasons() {
		want := undetermined
		if errors.Is(pki.Errorf(reason, ""), pki.ErrDisproved) {
			want = disproved
		}
		if strings.Count(want, fmt.Sprintf("| `%s` |", reason)) != 1 {
			t.Errorf("docs/signatures.md does not have %s once, in the table of its class", reason)
		}
	}
	if rows := strings.Count(after, "\n| `"); rows != len(pki.Reasons()) {
		t.Errorf("docs/signatures.md has %d reasons, want %d", rows, len(pki.Reasons()))
	}
}
