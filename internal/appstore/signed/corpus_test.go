package signed_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/appstore/signed"
	"revalidator/internal/dev/corpustest"
)

// corpusJWS is what an independent script found in a JWS.
type corpusJWS struct {
	file string
	text string

	X5C             int  `json:"x5c_len"`
	SignatureValid  bool `json:"signature_valid_by_leaf"`
	AppleRoot       bool `json:"chains_to_apple_root_g3"`
	LeafOID         bool `json:"leaf_oid_6.11.1"`
	IntermediateOID bool `json:"intermediate_oid_6.2.1"`
}

// corpus reads every JWS of the folder of recorded data.
func corpus(t testing.TB) []corpusJWS {
	t.Helper()
	var all []corpusJWS
	for _, e := range corpustest.Entries(t, corpustest.KindJWS) {
		c := corpusJWS{file: e.File, text: strings.TrimSpace(string(e.Data))}
		e.Expect(t, &c)
		if c.X5C == 0 { // the body around one that has a row of its own
			continue
		}
		all = append(all, c)
	}
	return all
}

// corpusRoots are the certificates of the corpus that signed themselves.
func corpusRoots(t testing.TB) map[string]*x509.Certificate {
	t.Helper()
	roots := make(map[string]*x509.Certificate)
	for _, e := range corpustest.Entries(t, corpustest.KindCertificate) {
		der := e.Data
		if block, _ := pem.Decode(der); block != nil {
			der = block.Bytes
		}
		if c, err := x509.ParseCertificate(der); err == nil && bytes.Equal(c.RawIssuer, c.RawSubject) {
			roots[e.Name()] = c
		}
	}
	return roots
}

// TestVerifyCorpus judges every JWS of the corpus under every root of the corpus.
// OpenSSL says whether the chain is good, the script what its certificates and
// its signature are.
func TestVerifyCorpus(t *testing.T) {
	t.Parallel()
	tokens := corpus(t)
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	verified := 0
	for name, root := range corpusRoots(t) {
		v := newVerifierAt(t, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), root)
		for _, c := range tokens {
			claims, err := signed.Peek(c.text)
			if err != nil {
				t.Fatalf("%s: %v", c.file, err)
			}
			_, err = check(t, v, c.text, signed.App{BundleID: claims.BundleID + sameApp(claims)})
			want := c.X5C == 3 && c.SignatureValid && c.LeafOID && c.IntermediateOID && !claims.SignedDate.IsZero() &&
				opensslVerifies(t, program, root, c, claims.SignedDate)
			if (err == nil) != want {
				t.Errorf("%s under %s: got %v, want verified %t", c.file, name, err, want)
			}
			if err == nil {
				verified++
			}
			if apple := strings.Contains(name, "AppleRootCA-G3"); apple && want != c.AppleRoot {
				t.Errorf("%s: verified under Apple's root %t, and the corpus says %t", c.file, want, c.AppleRoot)
			}
		}
	}
	t.Logf("%d verified", verified)
	if verified == 0 {
		t.Error("nothing verified")
	}
}

// sameApp is something for renewal information, which names no app.
func sameApp(c signed.Claims) string {
	if c.BundleID == "" {
		return bundleID
	}
	return ""
}

func newVerifierAt(t testing.TB, at time.Time, roots ...*x509.Certificate) *signed.Verifier {
	t.Helper()
	v, err := signed.New(signed.Config{Roots: roots, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func opensslVerifies(t *testing.T, program string, root *x509.Certificate, c corpusJWS, at time.Time) bool {
	t.Helper()
	part, _, _ := strings.Cut(c.text, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ X5C []string }
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name string, der []byte) string {
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	names := []string{write("root", root.Raw)}
	for i, certificate := range h.X5C {
		der, err := base64.StdEncoding.DecodeString(certificate)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, write(strconv.Itoa(i), der))
	}
	if len(names) < 3 {
		return false
	}
	err = exec.CommandContext(t.Context(), program, "verify", "-no-CApath", "-no-CAstore", "-auth_level", "0",
		"-attime", strconv.FormatInt(at.Unix(), 10), "-CAfile", names[0], "-untrusted", names[2], names[1]).Run()
	return err == nil
}

// TestCorpusReasons names what the corpus was made to show.
func TestCorpusReasons(t *testing.T) {
	t.Parallel()
	roots := corpusRoots(t)
	for _, c := range corpus(t) {
		claims, err := signed.Peek(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var want pki.Reason
		root := "apple-lib-testCA.der"
		switch {
		case claims.Environment == "Xcode":
			want = pki.ReasonTestEnvironment
		case c.AppleRoot:
			root = "AppleRootCA-G3.cer"
		case strings.Contains(c.file, "no-leaf-oid"):
			root, want = "emindeniz99-jws-no-leaf-oid-root.der", pki.ReasonLeafOID
		case strings.Contains(c.file, "no-intermediate-oid"):
			root, want = "emindeniz99-jws-no-intermediate-oid-root.der", pki.ReasonIntermediateOID
		case strings.Contains(c.file, "expired"):
			root, want = "emindeniz99-jws-expired-root.der", pki.ReasonCertificateDates
		case strings.Contains(c.file, "emindeniz99"):
			root = "emindeniz99-jws-root.der"
		case claims.SignedDate.IsZero():
			want = pki.ReasonNoSignedDate
		}
		if roots[root] == nil {
			t.Logf("no %s", root)
			continue
		}
		_, err = check(t, newVerifier(t, roots[root]), c.text, signed.App{BundleID: claims.BundleID + sameApp(claims)})
		if pki.ReasonOf(err) != want || want == "" && err != nil {
			t.Errorf("%s: got %v, want reason %q", c.file, err, want)
		}
	}
}
