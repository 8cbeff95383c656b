package receipt

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	_ "crypto/sha1"   // of receipts until 2023
	_ "crypto/sha256" // of receipts since
	"crypto/x509"
	"errors"
	"math/big"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
)

// VerifierConfig is what a Verifier needs. Every zero field has a default.
type VerifierConfig struct {
	// Roots are the roots that a chain may end in. Default: Apple Root CA.
	// Whoever passes others takes anything that they sign for Apple's.
	Roots []*x509.Certificate
	// Skew is how far ahead of the clock a creation date may be. Default 5 min.
	Skew time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Revocation asks whether a certificate was revoked; pki.OCSP is one. Nil
	// means that nobody is asked.
	Revocation Revocation
}

// Revocation reports whether a chain held when something was signed. Its errors
// are *pki.Error.
type Revocation interface {
	Check(ctx context.Context, c *pki.Chain, signed time.Time) error
}

// Verifier verifies the signatures of app receipts. It is safe for concurrent use.
type Verifier struct {
	roots      []*x509.Certificate
	skew       time.Duration
	now        func() time.Time
	revocation Revocation
}

// NewVerifier returns a Verifier, or an error that names every field it cannot use.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	v := &Verifier{roots: cfg.Roots, skew: cmp.Or(cfg.Skew, 5*time.Minute), now: cfg.Now, revocation: cfg.Revocation}
	if len(v.roots) == 0 {
		v.roots = []*x509.Certificate{pki.AppleRootCA()}
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.skew < 0 {
		return nil, errors.New("skew: want a positive value")
	}
	return v, nil
}

// Verify checks that Apple signed a receipt that Read has read, and says who
// did. It proves what was true at Info.CreationDate: a receipt whose purchases
// were refunded since verifies for ever.
//
// It hashes the receipt where it is, and needs less than VerifyBytes of memory
// of its own, however large the receipt. Its errors are *pki.Error.
func (v *Verifier) Verify(ctx context.Context, info Info) (pki.Signer, error) {
	switch info.Kind {
	case iap.KindXcode:
		return pki.Signer{}, pki.Errorf(pki.ReasonTestEnvironment, "%s", info.ReceiptType)
	case iap.KindAppReceipt:
	default:
		return pki.Signer{}, pki.Errorf(pki.ReasonUnsupportedKind, "%s", info.Kind)
	}
	parts, err := readSignedData(info.Data)
	if err != nil {
		return pki.Signer{}, asVerdict(err)
	}
	chain, err := v.chain(parts)
	if err != nil {
		return pki.Signer{}, asVerdict(err)
	}
	if err := parts.verify(chain.Leaf()); err != nil {
		return pki.Signer{}, asVerdict(err)
	}
	if err := v.checkDate(chain, info.CreationDate); err != nil {
		return pki.Signer{}, err
	}
	if v.revocation != nil {
		if err := v.revocation.Check(ctx, chain, info.CreationDate); err != nil {
			return pki.Signer{}, err
		}
	}
	return chain.Signer(), nil
}

// VerifyBytes is more than Verify needs of memory.
const VerifyBytes = 128 << 10

// asVerdict gives a reason to an error in the encoding.
func asVerdict(err error) error {
	switch {
	case pki.ReasonOf(err) != "":
		return err
	case errors.Is(err, errTooDeep):
		return pki.Errorf(pki.ReasonTooLarge, "%v", err)
	}
	return pki.Errorf(pki.ReasonMalformed, "%v", err)
}

// checkDate judges the chain at the creation date: no receipt has a chain that is
// valid for longer than its signing certificate, some two years.
func (v *Verifier) checkDate(chain *pki.Chain, created time.Time) error {
	switch {
	case created.IsZero():
		return pki.Errorf(pki.ReasonNoCreationDate, "")
	case created.After(v.now().Add(v.skew)):
		return pki.Errorf(pki.ReasonSignedInFuture, "created at %s, ahead of our clock", created.Format(time.RFC3339))
	}
	return chain.At(created)
}

// chain finds the signer's certificate by issuer and serial number, and the one
// that issued it. Apple's receipts have one intermediate; where several have its
// name, as two of Apple's do, that one counts whose signature it is.
func (v *Verifier) chain(p signedDataParts) (*pki.Chain, error) {
	certificates, err := p.readCertificates()
	if err != nil {
		return nil, err
	}
	var leaf *x509.Certificate
	for _, c := range certificates {
		if bytes.Equal(c.RawIssuer, p.signer.issuer) && c.SerialNumber.Cmp(new(big.Int).SetBytes(p.signer.serial)) == 0 {
			leaf = c
			break
		}
	}
	if leaf == nil {
		return nil, pki.Errorf(pki.ReasonNoCertificate, "of the signer")
	}
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		return nil, pki.Errorf(pki.ReasonUnknownRoot, "the signer's certificate is signed by itself")
	}
	err = pki.Errorf(pki.ReasonNoCertificate, "of the signer's issuer")
	for _, c := range certificates {
		if !bytes.Equal(c.RawSubject, leaf.RawIssuer) {
			continue
		}
		var chain *pki.Chain
		if chain, err = pki.Verify(leaf, c, v.roots); err == nil {
			return chain, nil
		}
	}
	return nil, err
}

// verify checks the signature with the signer's key: over the content itself, as
// Apple signs, or over attributes with a digest of the content.
func (p signedDataParts) verify(leaf *x509.Certificate) error {
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return pki.Errorf(pki.ReasonUnknownAlgorithm, "the signer's key is not RSA")
	}
	h := p.signer.hash.New()
	if err := hashOctets(h, p.content, 0); err != nil {
		return err
	}
	digest := h.Sum(nil)
	signed := digest
	if p.signer.attributes != nil {
		h.Reset()
		// The attributes are signed as the SET that they are, and sent as [0].
		h.Write([]byte{tagSet})
		h.Write(p.signer.attributes[1:])
		signed = h.Sum(nil)
	}
	if rsa.VerifyPKCS1v15(key, p.signer.hash, signed, p.signer.signature) != nil {
		return pki.Errorf(pki.ReasonBadSignature, "")
	}
	if p.signer.attributes != nil && !bytes.Equal(p.signer.digest, digest) {
		return pki.Errorf(pki.ReasonDigest, "")
	}
	return nil
}
