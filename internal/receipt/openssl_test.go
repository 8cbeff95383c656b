package receipt

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/dev/corpustest"
)

// stricter are the reasons for which a receipt is refused that OpenSSL takes:
// what it does not know of Apple's receipts, or is told to leave out.
var stricter = map[pki.Reason]string{
	pki.ReasonTestEnvironment: "OpenSSL does not know that Xcode's receipts are worth nothing",
	pki.ReasonLeafOID:         "OpenSSL does not know the mark of the App Store's signers",
	pki.ReasonIntermediateOID: "OpenSSL does not know the mark of Apple's intermediates",
	pki.ReasonNoCreationDate:  "OpenSSL judges by today's date where it is told no other",
}

// TestVerifyAsOpenSSL compares every receipt of the corpus under every root of
// the corpus, so that neither what verifies nor what does not is listed by hand.
func TestVerifyAsOpenSSL(t *testing.T) {
	t.Parallel()
	receipts := corpustest.Entries(t, corpustest.KindReceipt)
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	verified := 0
	for name, root := range corpusRoots(t) {
		v, err := NewVerifier(VerifierConfig{Roots: []*x509.Certificate{root}})
		if err != nil {
			t.Fatal(err)
		}
		trusted := filepath.Join(t.TempDir(), "root.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
		if err := os.WriteFile(trusted, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, e := range receipts {
			info, ok := appReceiptOf(e)
			if !ok {
				continue
			}
			_, err := v.Verify(t.Context(), info)
			theirs := opensslVerifies(t, program, trusted, info)
			switch reason := pki.ReasonOf(err); {
			case err == nil && theirs:
				verified++
			case err == nil:
				t.Errorf("%s under %s: verified, and OpenSSL refuses it", e.Name(), name)
			case theirs && stricter[reason] == "":
				t.Errorf("%s under %s: got %v, and OpenSSL verifies it", e.Name(), name, err)
			case theirs:
				t.Logf("%s under %s: %v; %s", e.Name(), name, err, stricter[reason])
			}
		}
	}
	t.Logf("%d receipts verified", verified)
	if verified == 0 {
		t.Error("no receipt verified")
	}
}

// corpusRoots are the certificates of the corpus that signed themselves.
func corpusRoots(t *testing.T) map[string]*x509.Certificate {
	t.Helper()
	roots := make(map[string]*x509.Certificate)
	for _, e := range corpustest.Entries(t, corpustest.KindCertificate) {
		der := e.Data
		if block, _ := pem.Decode(der); block != nil {
			der = block.Bytes
		}
		c, err := x509.ParseCertificate(der)
		if err == nil && bytes.Equal(c.RawIssuer, c.RawSubject) {
			roots[e.Name()] = c
		}
	}
	return roots
}

// appReceiptOf reads an entry. One that cannot be read, or is no PKCS#7, has
// nothing to verify.
func appReceiptOf(e corpustest.Entry) (Info, bool) {
	info, err := Parse(e.Data)
	return info, err == nil && info.attributes != nil
}

func opensslVerifies(t *testing.T, program, root string, info Info) bool {
	t.Helper()
	arguments := []string{
		"cms", "-verify", "-inform", "DER", "-purpose", "any", "-auth_level", "0",
		"-no-CApath", "-no-CAstore", "-CAfile", root, "-out", os.DevNull,
	}
	if !info.CreationDate.IsZero() {
		arguments = append(arguments, "-attime", strconv.FormatInt(info.CreationDate.Unix(), 10))
	}
	c := exec.CommandContext(t.Context(), program, arguments...)
	c.Stdin = bytes.NewReader(info.Data)
	output, err := c.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("run openssl: %v", err)
	}
	if err != nil && !strings.Contains(string(output), "Verification failure") && !strings.Contains(string(output), "Error reading") {
		t.Fatalf("openssl: %s", output)
	}
	return err == nil
}

// TestVerifyCorpusUnderApple compares with what the corpus expects.
func TestVerifyCorpusUnderApple(t *testing.T) {
	t.Parallel()
	v, err := NewVerifier(VerifierConfig{Now: func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range corpustest.Entries(t, corpustest.KindReceipt) {
		info, ok := appReceiptOf(e)
		if !ok {
			continue
		}
		var want struct {
			Chains bool `json:"chains_to_apple_root_at_creation"`
			Valid  bool `json:"signature_valid"`
		}
		e.Expect(t, &want)
		signer, err := v.Verify(t.Context(), info)
		if (err == nil) != (want.Chains && want.Valid) {
			t.Errorf("%s: got %v, and the corpus says chain %t, signature %t", e.Name(), err, want.Chains, want.Valid)
		}
		if err == nil && (signer.Root != "Apple Root CA" || signer.NotAfter.Before(info.CreationDate)) {
			t.Errorf("%s: signed by %+v", e.Name(), signer)
		}
	}
}
