package signed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"revalidator/internal/appstore/pki"
)

const (
	// certificates is how many Apple sends: leaf, intermediate and root.
	certificates = 3
	// maxHeader bounds a protected header, in bytes. Real ones have 4 KB.
	maxHeader = 32 << 10
)

// readHeader reads a protected header that was not met before and verifies its
// chain. go-jose reads the format: it takes no name twice, no algorithm but
// ES256 and no broken certificate. It gives certificates away only to whoever
// lets x509 verify them, and would take any root that it is given the pool of,
// so that the rest is done here.
func (v *Verifier) readHeader(jws, header string) (*pki.Chain, error) {
	if len(header) > maxHeader {
		return nil, pki.Errorf(pki.ReasonTooLarge, "a header of %d bytes, may be %d", len(header), maxHeader)
	}
	parsed, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, headerError(err)
	}
	// Both change what is signed; see RFC 7515, 4.1.11 and RFC 7797.
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := parsed.Signatures[0].Protected.ExtraHeaders[name]; ok {
			return nil, pki.Errorf(pki.ReasonUnknownExtension, "of the JWS")
		}
	}
	leaf, intermediate, err := readCertificates(header)
	if err != nil {
		return nil, err
	}
	chain, err := pki.Verify(leaf, intermediate, v.roots)
	if err != nil {
		return nil, err
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, pki.Errorf(pki.ReasonUnknownAlgorithm, "the leaf has no key for ES256")
	}
	return chain, nil
}

// headerError drops the text of go-jose, which repeats the header.
func headerError(err error) error {
	e, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err)
	switch {
	case !ok:
		return pki.Errorf(pki.ReasonMalformed, "the header of the JWS cannot be read")
	case e.Got == "" || strings.EqualFold(string(e.Got), "none"), strings.HasPrefix(string(e.Got), "HS"):
		return pki.Errorf(pki.ReasonUnsigned, "algorithm %s", printable(string(e.Got), 16))
	}
	return pki.Errorf(pki.ReasonUnknownAlgorithm, "%s in place of ES256", printable(string(e.Got), 16))
}

// readCertificates returns the leaf and the intermediate. The third certificate
// is counted and not used: the root is ours.
func readCertificates(header string) (leaf, intermediate *x509.Certificate, err error) {
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return nil, nil, pki.Errorf(pki.ReasonMalformed, "the header of the JWS cannot be read")
	}
	var fields struct {
		X5C []string `json:"x5c"`
	}
	if err := josejson.Unmarshal(text, &fields); err != nil {
		return nil, nil, pki.Errorf(pki.ReasonMalformed, "the header of the JWS cannot be read")
	}
	if len(fields.X5C) != certificates {
		return nil, nil, pki.Errorf(pki.ReasonChainLength, "%d certificates, not %d", len(fields.X5C), certificates)
	}
	var parsed [2]*x509.Certificate
	for i := range parsed {
		der, err := base64.StdEncoding.DecodeString(fields.X5C[i])
		if err == nil {
			parsed[i], err = x509.ParseCertificate(der)
		}
		if err != nil {
			return nil, nil, pki.Errorf(pki.ReasonMalformed, "certificate %d cannot be read", i+1)
		}
	}
	return parsed[0], parsed[1], nil
}
