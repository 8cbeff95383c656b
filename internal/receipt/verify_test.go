package receipt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/dev/applesign"
	"revalidator/internal/iap"
	"revalidator/internal/receipt"
)

const bundleID = "com.example.reader"

var (
	created = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	now     = created.Add(time.Hour)
)

// authority is a chain like Apple's; other has the same names and other keys.
var (
	authority = sync.OnceValue(func() *applesign.Authority { return applesign.Must(applesign.New(applesign.Config{}, keys())) })
	other     = sync.OnceValue(func() *applesign.Authority { return applesign.Must(applesign.NewRSA(applesign.Config{})) })
)

func keys() [3]crypto.Signer {
	keys, err := applesign.ReadKeys("testdata/keys.pem")
	if err != nil {
		panic(err)
	}
	return keys
}

// with is the authority with its keys and other certificates.
func with(t *testing.T, cfg applesign.Config) *applesign.Authority {
	t.Helper()
	a, err := applesign.New(cfg, authority().Keys)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func content() []byte { return applesign.Content("Production", bundleID, created, 2) }

func sign(t *testing.T, a *applesign.Authority, content []byte, r applesign.Receipt) []byte {
	t.Helper()
	data, err := a.Receipt(content, r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newVerifier(t testing.TB, roots ...*x509.Certificate) *receipt.Verifier {
	t.Helper()
	v, err := receipt.NewVerifier(receipt.VerifierConfig{Roots: roots, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func verify(t *testing.T, a *applesign.Authority, data []byte) (pki.Signer, error) {
	t.Helper()
	info, err := receipt.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return newVerifier(t, a.Certificates[applesign.Root]).Verify(t.Context(), info)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	a := authority()
	tests := map[string]struct {
		authority *applesign.Authority
		receipt   applesign.Receipt
	}{
		"as Apple signs":             {a, applesign.Receipt{}},
		"with signed attributes":     {a, applesign.Receipt{SignedAttributes: true}},
		"SHA-1":                      {with(t, applesign.Config{SHA1: true}), applesign.Receipt{}},
		"SHA-1, signed attributes":   {with(t, applesign.Config{SHA1: true}), applesign.Receipt{SignedAttributes: true}},
		"content in pieces":          {a, applesign.Receipt{Pieces: 100}},
		"without its root":           {a, applesign.Receipt{Certificates: []*x509.Certificate{a.Certificates[applesign.Leaf], a.Certificates[applesign.Intermediate]}}},
		"certificates in any order":  {a, applesign.Receipt{Certificates: slices.Clone(a.Certificates[:])}},
		"other intermediate as well": {a, applesign.Receipt{Certificates: []*x509.Certificate{other().Certificates[applesign.Intermediate], a.Certificates[applesign.Leaf], a.Certificates[applesign.Intermediate]}}},
		"without key usage":          {with(t, applesign.Config{Change: func(_ applesign.Role, c *x509.Certificate) { c.KeyUsage = 0 }}), applesign.Receipt{}},
		"leaf expired since":         {with(t, applesign.Config{NotAfter: created.Add(time.Minute)}), applesign.Receipt{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, err := verify(t, test.authority, sign(t, test.authority, content(), test.receipt))
			if err != nil {
				t.Fatal(err)
			}
			leaf := test.authority.Certificates[applesign.Leaf]
			want := pki.Signer{
				Name: "Simulated App Store Receipt Signing", Intermediate: "Simulated Worldwide Developer Relations Certification Authority",
				Root: "Simulated Root CA", NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
			}
			if diff := cmp.Diff(want, signer); diff != "" {
				t.Errorf("signer (-want +got):\n%s", diff)
			}
		})
	}
}

// leafAsCA signs with a leaf that the authority's own leaf issued: every
// developer who has a certificate of Apple's could.
func leafAsCA(t *testing.T) *applesign.Authority {
	t.Helper()
	a := authority()
	template := *a.Certificates[applesign.Leaf]
	template.RawSubject, template.Subject.CommonName = nil, "Forged"
	forged, err := applesign.Issue(&template, a.Certificates[applesign.Leaf], other().Keys[applesign.Leaf].Public(), a.Keys[applesign.Leaf])
	if err != nil {
		t.Fatal(err)
	}
	return &applesign.Authority{
		Certificates: [3]*x509.Certificate{a.Certificates[applesign.Root], a.Certificates[applesign.Leaf], forged},
		Keys:         other().Keys,
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	a := authority()
	root := a.Certificates[applesign.Root]
	set := content()
	md := a.MessageDigest
	tests := map[string]struct {
		authority *applesign.Authority
		content   []byte
		receipt   applesign.Receipt
		want      pki.Reason
	}{
		"leaf as CA":                    {leafAsCA(t), set, applesign.Receipt{}, pki.ReasonNotCA},
		"leaf as CA, whole chain":       {leafAsCA(t), set, applesign.Receipt{Certificates: append(leafAsCA(t).Certificates[:], a.Certificates[:]...)}, pki.ReasonNotCA},
		"root by name":                  {other(), set, applesign.Receipt{}, pki.ReasonChainSignature},
		"unknown root":                  {with(t, applesign.Change(applesign.Root, func(c *x509.Certificate) { c.Subject.CommonName = "Another Root" })), set, applesign.Receipt{}, pki.ReasonUnknownRoot},
		"intermediate not a CA":         {with(t, applesign.Change(applesign.Intermediate, func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false })), set, applesign.Receipt{}, pki.ReasonNotCA},
		"intermediate without CA flag":  {with(t, applesign.Change(applesign.Intermediate, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = false, false, false })), set, applesign.Receipt{}, pki.ReasonNotCA},
		"intermediate may not issue":    {with(t, applesign.Change(applesign.Intermediate, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })), set, applesign.Receipt{}, pki.ReasonKeyUsage},
		"leaf may not sign":             {with(t, applesign.Change(applesign.Leaf, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), set, applesign.Receipt{}, pki.ReasonKeyUsage},
		"leaf is a CA":                  {with(t, applesign.Change(applesign.Leaf, func(c *x509.Certificate) { c.IsCA = true })), set, applesign.Receipt{}, pki.ReasonLeafIsCA},
		"leaf without its mark":         {with(t, applesign.Change(applesign.Leaf, func(c *x509.Certificate) { c.ExtraExtensions = nil })), set, applesign.Receipt{}, pki.ReasonLeafOID},
		"intermediate without its mark": {with(t, applesign.Change(applesign.Intermediate, func(c *x509.Certificate) { c.ExtraExtensions = nil })), set, applesign.Receipt{}, pki.ReasonIntermediateOID},
		"marks swapped": {with(t, applesign.Config{Change: func(r applesign.Role, c *x509.Certificate) {
			switch r {
			case applesign.Leaf:
				c.ExtraExtensions = []pkix.Extension{{Id: applesign.OIDIntermediate, Value: asn1.NullBytes}}
			case applesign.Intermediate:
				c.ExtraExtensions = []pkix.Extension{{Id: applesign.OIDLeaf, Value: asn1.NullBytes}}
			}
		}}), set, applesign.Receipt{}, pki.ReasonLeafOID},
		"unknown critical extension": {with(t, applesign.Change(applesign.Leaf, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: asn1.NullBytes})
		})), set, applesign.Receipt{}, pki.ReasonUnknownExtension},
		"name constraints": {with(t, applesign.Change(applesign.Intermediate, func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.com"}, true
		})), set, applesign.Receipt{}, pki.ReasonUnknownExtension},
		"root allows no intermediate": {with(t, applesign.Change(applesign.Root, func(c *x509.Certificate) { c.MaxPathLenZero = true })), set, applesign.Receipt{}, pki.ReasonPathLength},

		"signed before its leaf":  {with(t, applesign.Config{NotBefore: created.Add(time.Minute)}), set, applesign.Receipt{}, pki.ReasonCertificateDates},
		"signed after its leaf":   {with(t, applesign.Config{NotAfter: created.Add(-time.Minute)}), set, applesign.Receipt{}, pki.ReasonCertificateDates},
		"created in the future":   {a, applesign.Content("Production", bundleID, now.Add(time.Hour), 0), applesign.Receipt{}, pki.ReasonSignedInFuture},
		"without a creation date": {a, applesign.Content("Production", bundleID, time.Time{}, 0), applesign.Receipt{}, pki.ReasonNoCreationDate},
		"of Xcode":                {a, applesign.Content("Xcode", bundleID, created, 0), applesign.Receipt{}, pki.ReasonTestEnvironment},
		"of local testing":        {a, applesign.Content("LocalTesting", bundleID, created, 0), applesign.Receipt{}, pki.ReasonTestEnvironment},

		"another content":         {a, set, applesign.Receipt{SignedContent: []byte("other")}, pki.ReasonBadSignature},
		"attributes of another":   {a, set, applesign.Receipt{SignedContent: []byte("other"), SignedAttributes: true}, pki.ReasonDigest},
		"second signer":           {a, set, applesign.Receipt{Signers: 2}, pki.ReasonSigners},
		"a hundred signers":       {a, set, applesign.Receipt{Signers: 100}, pki.ReasonSigners},
		"no signer":               {a, set, applesign.Receipt{NoSigner: true}, pki.ReasonUnsigned},
		"no certificates":         {a, set, applesign.Receipt{Certificates: []*x509.Certificate{}}, pki.ReasonNoCertificate},
		"no intermediate":         {a, set, applesign.Receipt{Certificates: []*x509.Certificate{a.Certificates[applesign.Leaf], root}}, pki.ReasonNoCertificate},
		"eleven certificates":     {a, set, applesign.Receipt{Certificates: slices.Repeat([]*x509.Certificate{root}, 11)}, pki.ReasonTooLarge},
		"attributes, no digest":   {a, set, applesign.Receipt{Attributes: [][]byte{applesign.ContentType()}}, pki.ReasonDigest},
		"attributes, no type":     {a, set, applesign.Receipt{Attributes: [][]byte{md(set)}}, pki.ReasonDigest},
		"attributes, two digests": {a, set, applesign.Receipt{Attributes: [][]byte{applesign.ContentType(), md(set), md([]byte("other"))}}, pki.ReasonMalformed},
		"attributes, two types":   {a, set, applesign.Receipt{Attributes: [][]byte{applesign.ContentType(), applesign.ContentType(), md(set)}}, pki.ReasonMalformed},
		"seventeen attributes":    {a, set, applesign.Receipt{Attributes: slices.Repeat([][]byte{applesign.Attribute(asn1.ObjectIdentifier{1, 2, 3}, asn1.NullBytes)}, 17)}, pki.ReasonTooLarge},
		"large attributes":        {a, set, applesign.Receipt{Attributes: [][]byte{applesign.Attribute(asn1.ObjectIdentifier{1, 2, 3}, append([]byte{4, 0x82, 0x40, 0}, make([]byte, 0x4000)...))}}, pki.ReasonTooLarge},
		"attributes are no SET":   {a, set, applesign.Receipt{Attributes: [][]byte{set}}, pki.ReasonMalformed},
		"SHA-512":                 {a, set, applesign.Receipt{DigestAlgorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}}, pki.ReasonUnknownAlgorithm},
		"MD5":                     {a, set, applesign.Receipt{DigestAlgorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}}, pki.ReasonUnknownAlgorithm},
		"SHA-1 named, not used":   {a, set, applesign.Receipt{DigestAlgorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}}, pki.ReasonBadSignature},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := sign(t, test.authority, test.content, test.receipt)
			trusted := *test.authority
			switch test.want {
			case pki.ReasonNotCA, pki.ReasonNoCertificate, pki.ReasonChainSignature, pki.ReasonUnknownRoot:
				trusted = *a // and not what the receipt brings along
			}
			_, err := verify(t, &trusted, data)
			if got := pki.ReasonOf(err); got != test.want {
				t.Errorf("got %v, want reason %s", err, test.want)
			}
		})
	}
}

// TestAttributesAsContent is the forgery that RFC 5652 warns of: the encoded
// attributes of one message are the content of another without attributes.
func TestAttributesAsContent(t *testing.T) {
	t.Parallel()
	a := authority()
	attributes := slices.Concat(applesign.ContentType(), a.MessageDigest(content()))
	data := sign(t, a, slices.Concat([]byte{0x31, byte(len(attributes))}, attributes), applesign.Receipt{})
	if _, err := receipt.Read(data); !errors.Is(err, receipt.ErrMalformed) {
		t.Errorf("got %v, want %v", err, receipt.ErrMalformed)
	}
}

func TestVerifySpoiled(t *testing.T) {
	t.Parallel()
	data := sign(t, authority(), content(), applesign.Receipt{})
	v := newVerifier(t, authority().Certificates[applesign.Root])
	refused := 0
	for i := range data {
		spoiled := slices.Clone(data)
		spoiled[i] ^= 1
		info, err := receipt.Read(spoiled)
		if err != nil {
			continue
		}
		// The root is not read, and neither are the versions and some NULLs.
		if _, err = v.Verify(t.Context(), info); err != nil && pki.ReasonOf(err) == "" {
			t.Fatalf("byte %d: got %v, want a reason", i, err)
		}
		if err != nil {
			refused++
			continue
		}
		if !bytes.Contains(spoiled, content()) {
			t.Errorf("byte %d of the content changed, and the receipt verifies", i)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func TestVerifyTransactionReceipt(t *testing.T) {
	t.Parallel()
	_, err := newVerifier(t).Verify(t.Context(), receipt.Info{Kind: iap.KindTransactionReceipt})
	if pki.ReasonOf(err) != pki.ReasonUnsupportedKind || !errors.Is(err, pki.ErrUndetermined) {
		t.Errorf("got %v, want %s", err, pki.ReasonUnsupportedKind)
	}
}

// TestVerifyNesting opens as many constructed pieces as a receipt can hold.
func TestVerifyNesting(t *testing.T) {
	t.Parallel()
	deep := []byte{4, 0}
	for range 40 {
		deep = slices.Concat([]byte{0x24, byte(len(deep))}, deep)
	}
	// The outer lengths have room: the piece replaces the content of a receipt.
	data := sign(t, authority(), deep, applesign.Receipt{})
	i := bytes.Index(data, deep) - 2
	if data[i] != 4 {
		t.Fatal("the content is not where it was expected")
	}
	data[i] = 0x24
	if _, err := receipt.Read(data); !errors.Is(err, receipt.ErrMalformed) {
		t.Errorf("got %v, want %v", err, receipt.ErrMalformed)
	}
}

type revocation func(signed time.Time) error

func (f revocation) Check(_ context.Context, _ *pki.Chain, signed time.Time) error { return f(signed) }

func TestVerifyAsksAboutRevocation(t *testing.T) {
	t.Parallel()
	info, err := receipt.Read(sign(t, authority(), content(), applesign.Receipt{}))
	if err != nil {
		t.Fatal(err)
	}
	want := pki.Errorf(pki.ReasonRevocationUnknown, "no answer")
	v, err := receipt.NewVerifier(receipt.VerifierConfig{
		Roots: authority().Certificates[:1], Now: func() time.Time { return now },
		Revocation: revocation(func(signed time.Time) error {
			if !signed.Equal(created) {
				t.Errorf("asked about %s, want %s", signed, created)
			}
			return want
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), info); !errors.Is(err, want) || !want.Retryable() {
		t.Errorf("got %v, want %v", err, want)
	}
}

// TestVerifyMemory verifies a receipt of 5 MB, which must cost a small part of it.
func TestVerifyMemory(t *testing.T) {
	a := authority()
	data := sign(t, a, applesign.Content("Production", bundleID, created, 22_000), applesign.Receipt{})
	if len(data) < 5<<20 {
		t.Fatalf("a receipt of %d bytes, want 5 MB", len(data))
	}
	info, err := receipt.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, a.Certificates[applesign.Root])
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := v.Verify(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > receipt.VerifyBytes {
		t.Errorf("used %d bytes for a receipt of %d, want at most %d", used, len(data), receipt.VerifyBytes)
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	info, err := receipt.Read(sign(t, authority(), content(), applesign.Receipt{}))
	if err != nil {
		t.Fatal(err)
	}
	f, err := info.Facts()
	if err != nil {
		t.Fatal(err)
	}
	c := iap.Derive(&f)
	if len(c.Subscriptions) != 1 {
		t.Fatalf("got %d subscriptions, want 1", len(c.Subscriptions))
	}
	s := c.Subscriptions[0]
	if !s.AsOf.Equal(created) || s.Tells != iap.GroupPeriod|iap.GroupRevocations || s.BundleID != bundleID || s.Environment != iap.Production {
		t.Errorf("got %+v", s)
	}
}

func FuzzVerify(f *testing.F) {
	a := authority()
	v := newVerifier(f, a.Certificates[applesign.Root])
	for _, r := range []applesign.Receipt{{}, {SignedAttributes: true}, {Pieces: 50}, {Signers: 2}, {NoSigner: true}} {
		data, err := a.Receipt(content(), r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	want := content()
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := receipt.Read(data)
		if err != nil {
			return
		}
		_, err = v.Verify(t.Context(), info)
		if err != nil && pki.ReasonOf(err) == "" {
			t.Fatalf("got %v, want a reason", err)
		}
		if err == nil && (info.BundleID != bundleID || !info.CreationDate.Equal(created) || len(data) < len(want)) {
			t.Fatalf("verified what was never signed: %+v", info)
		}
	})
}
