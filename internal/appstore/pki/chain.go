package pki

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"time"
)

// The extensions that mark what Apple issues for the App Store. Every developer
// has a certificate under the same intermediates, but none with these.
// https://developer.apple.com/documentation/appstorereceipts/validating_receipts_on_the_device
var (
	oidLeaf         = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 11, 1}
	oidIntermediate = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 2, 1}
	oidKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidConstraints  = asn1.ObjectIdentifier{2, 5, 29, 30} // name constraints
)

// Chain is a chain of certificates that ends in one of the roots. Only Verify
// makes one.
type Chain struct{ leaf, intermediate, root *x509.Certificate }

// Verify checks that the leaf was issued by the intermediate and that by one of
// the roots, and that both are for the App Store. The root comes from the
// caller, never from what is verified. Dates and revocation are left to Chain.At
// and OCSP.Check. Its errors are *Error.
//
// Links are checked by hand and not with x509.Certificate.Verify, because that
// refuses SHA-1 (every receipt until 2023), takes any certificate of Apple's
// for one of the App Store's, and does not tell what it refuses a chain for.
func Verify(leaf, intermediate *x509.Certificate, roots []*x509.Certificate) (*Chain, error) {
	// First, and whatever the root is: a leaf that issues another certificate
	// is the usual forgery, and its own issuer is none of the roots.
	if !intermediate.BasicConstraintsValid || !intermediate.IsCA {
		return nil, Errorf(ReasonNotCA, "intermediate")
	}
	root, err := issuer(intermediate, roots)
	if err != nil {
		return nil, err
	}
	c := &Chain{leaf, intermediate, root}
	if err := link(intermediate, leaf); err != nil {
		return nil, err
	}
	return c, c.purpose()
}

// issuer finds the root that issued a certificate.
func issuer(c *x509.Certificate, roots []*x509.Certificate) (*x509.Certificate, error) {
	err := error(Errorf(ReasonUnknownRoot, "the chain does not end in a root that is trusted here"))
	for _, root := range roots {
		if !bytes.Equal(c.RawIssuer, root.RawSubject) {
			continue
		}
		if err = link(root, c); err == nil {
			return root, nil
		}
	}
	return nil, err
}

// link checks that a certificate was issued by another.
func link(issuer, issued *x509.Certificate) error {
	if !bytes.Equal(issued.RawIssuer, issuer.RawSubject) {
		return Errorf(ReasonChainSignature, "a certificate names another issuer")
	}
	var err error
	if issued.SignatureAlgorithm == x509.SHA1WithRSA {
		err = checkSHA1(issuer, issued)
	} else {
		err = issuer.CheckSignature(issued.SignatureAlgorithm, issued.RawTBSCertificate, issued.Signature)
	}
	switch {
	case errors.Is(err, x509.ErrUnsupportedAlgorithm), errors.As(err, new(x509.InsecureAlgorithmError)):
		return Errorf(ReasonUnknownAlgorithm, "of a certificate")
	case err != nil:
		return Errorf(ReasonChainSignature, "a certificate was not signed by its issuer")
	}
	return nil
}

// checkSHA1 is what x509 refuses. It is safe where the root is pinned: a
// collision would have to be prepared with Apple's help while it issued, and
// Apple has stopped.
func checkSHA1(issuer, issued *x509.Certificate) error {
	key, ok := issuer.PublicKey.(*rsa.PublicKey)
	if !ok {
		return x509.ErrUnsupportedAlgorithm
	}
	sum := sha1.Sum(issued.RawTBSCertificate)
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], issued.Signature)
}

// purpose checks what the certificates are for. Their links are checked before.
func (c *Chain) purpose() error {
	for _, critical := range []*x509.Certificate{c.leaf, c.intermediate} {
		if err := checkCritical(critical); err != nil {
			return err
		}
	}
	switch {
	case c.leaf.IsCA:
		return Errorf(ReasonLeafIsCA, "")
	case c.root.MaxPathLen == 0 && c.root.MaxPathLenZero:
		return Errorf(ReasonPathLength, "the root allows no intermediate")
	case !mayBeUsed(c.intermediate, x509.KeyUsageCertSign), !mayBeUsed(c.root, x509.KeyUsageCertSign):
		return Errorf(ReasonKeyUsage, "an issuer may not sign certificates")
	case !mayBeUsed(c.leaf, x509.KeyUsageDigitalSignature):
		return Errorf(ReasonKeyUsage, "the leaf may not sign")
	case !hasExtension(c.leaf, oidLeaf):
		return Errorf(ReasonLeafOID, "")
	case !hasExtension(c.intermediate, oidIntermediate):
		return Errorf(ReasonIntermediateOID, "")
	}
	return nil
}

// checkCritical refuses what a certificate declares critical and nobody here
// understands. Names are constrained by none of Apple's certificates, and x509
// would check that only in its own Verify.
func checkCritical(c *x509.Certificate) error {
	for _, oid := range c.UnhandledCriticalExtensions {
		if !oid.Equal(oidLeaf) && !oid.Equal(oidIntermediate) {
			return Errorf(ReasonUnknownExtension, "%v", oid)
		}
	}
	for _, e := range c.Extensions {
		if e.Critical && e.Id.Equal(oidConstraints) {
			return Errorf(ReasonUnknownExtension, "%v", e.Id)
		}
	}
	return nil
}

// mayBeUsed reports whether a certificate allows a use of its key, as one does
// that does not restrict it.
func mayBeUsed(c *x509.Certificate, use x509.KeyUsage) bool {
	return c.KeyUsage&use != 0 || !hasExtension(c, oidKeyUsage)
}

func hasExtension(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return true
		}
	}
	return false
}

// At checks that each certificate was valid at a date, which must be that of
// the signature and not today: every signing certificate of Apple's expires
// after some two years, and what it signed does not.
func (c *Chain) At(signed time.Time) error {
	for _, cert := range []*x509.Certificate{c.leaf, c.intermediate, c.root} {
		if signed.Before(cert.NotBefore) || signed.After(cert.NotAfter) {
			return Errorf(ReasonCertificateDates, "%.100s was valid from %s to %s, and the signature is of %s", cert.Subject.CommonName,
				cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly), signed.Format(time.DateOnly))
		}
	}
	return nil
}

// Leaf is the certificate whose key signed. It must not be changed.
func (c *Chain) Leaf() *x509.Certificate { return c.leaf }

// Signer says who signed, for people.
type Signer struct {
	// Name, Intermediate and Root are the common names of the certificates.
	Name         string `json:"name"`
	Intermediate string `json:"intermediate"`
	Root         string `json:"root"`
	// NotBefore and NotAfter are the dates of the leaf.
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Signer describes the chain.
func (c *Chain) Signer() Signer {
	return Signer{
		Name: name(c.leaf), Intermediate: name(c.intermediate), Root: name(c.root),
		NotBefore: c.leaf.NotBefore.UTC(), NotAfter: c.leaf.NotAfter.UTC(),
	}
}

func name(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return c.Subject.String()
}
