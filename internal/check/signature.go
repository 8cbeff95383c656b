package check

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/appstore/signed"
	"revalidator/internal/iap"
	"revalidator/internal/receipt"
)

// VerifierConfig is what Verifiers need.
type VerifierConfig struct {
	// RootsFile is a PEM file of roots that take the place of Apple's; empty for
	// Apple's own.
	RootsFile string
	// OCSP asks whether a certificate was revoked.
	OCSP bool
	// Now is the clock of Apple's dates.
	Now func() time.Time
}

// Verifiers verify whatever Apple signs. They are safe for concurrent use.
type Verifiers struct {
	Receipts *receipt.Verifier
	Payloads *signed.Verifier
}

// NewVerifiers returns Verifiers. Its error is one of the file of roots.
func NewVerifiers(cfg VerifierConfig) (*Verifiers, error) {
	roots, err := readRoots(cfg.RootsFile)
	if err != nil {
		return nil, err
	}
	receipts := receipt.VerifierConfig{Roots: roots, Now: cfg.Now}
	payloads := signed.Config{Roots: roots, Now: cfg.Now}
	if cfg.OCSP {
		ocsp := pki.NewOCSP(pki.OCSPConfig{Now: cfg.Now})
		receipts.Revocation, payloads.Revocation = ocsp, ocsp
	}
	var v Verifiers
	if v.Receipts, err = receipt.NewVerifier(receipts); err != nil {
		return nil, err
	}
	v.Payloads, err = signed.New(payloads)
	return &v, err
}

// readRoots reads the certificates of a PEM file.
func readRoots(file string) ([]*x509.Certificate, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("REVALIDATOR_APPLE_ROOTS: %w", err)
	}
	var roots []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("REVALIDATOR_APPLE_ROOTS: certificate %d of %s cannot be read: %w", len(roots)+1, file, err)
		}
		roots = append(roots, c)
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("REVALIDATOR_APPLE_ROOTS: %s holds no certificate in PEM", file)
	}
	return roots, nil
}

// Verdict is what a verifier comes to.
type Verdict string

// The verdicts. What is undetermined may be genuine: it proves nothing.
const (
	Verified     Verdict = "verified"
	Undetermined Verdict = "undetermined"
	Disproved    Verdict = "disproved"
)

// Signature says who signed something, since when, and why it is not believed.
type Signature struct {
	Verdict Verdict `json:"verdict"`
	// Reason and Error are empty for what is verified.
	Reason pki.Reason `json:"reason"`
	Error  string     `json:"error"`
	// Signer is nil for what is not verified, whatever it says of itself.
	Signer *pki.Signer `json:"signer"`
	// SignedAt is when it says that it was signed: what it says was true then.
	SignedAt *time.Time `json:"signed_at"`
}

func newSignature(signer pki.Signer, signedAt time.Time, err error) Signature {
	s := Signature{Verdict: Verified, SignedAt: orNil(signedAt)}
	switch {
	case err == nil:
		s.Signer = &signer
		return s
	case errors.Is(err, pki.ErrDisproved):
		s.Verdict = Disproved
	default:
		s.Verdict = Undetermined
	}
	s.Reason = pki.ReasonOf(err)
	// The verdict is not said twice.
	s.Error = strings.Replace(err.Error(), fmt.Sprintf("signature %s: ", s.Verdict), "", 1)
	return s
}

// Receipt says who signed a receipt.
func (v *Verifiers) Receipt(ctx context.Context, info receipt.Info) Signature {
	signer, err := v.Receipts.Verify(ctx, info)
	return newSignature(signer, info.CreationDate, err)
}

// StoredReceipt verifies the bytes of a receipt, as a worker wants it. Its errors
// match pki.ErrDisproved where Apple did not sign them.
func (v *Verifiers) StoredReceipt(ctx context.Context, data []byte) error {
	info, err := receipt.Read(data)
	if err == nil {
		_, err = v.Receipts.Verify(ctx, info)
	}
	return err
}

// ReceiptInfo verifies a receipt that was read.
func (v *Verifiers) ReceiptInfo(ctx context.Context, info receipt.Info) error {
	_, err := v.Receipts.Verify(ctx, info)
	return err
}

// SignedTransaction verifies a signed transaction of an app, and returns its facts as
// of its signing date.
func (v *Verifiers) SignedTransaction(ctx context.Context, jws, bundleID string) (iap.Facts, error) {
	t, err := v.Payloads.Transaction(ctx, jws, signed.App{BundleID: bundleID})
	if err != nil {
		return iap.Facts{}, err
	}
	if t.TransactionID == "" || t.OriginalTransactionID == "" {
		return iap.Facts{}, pki.Errorf(pki.ReasonUnsupportedKind, "not a transaction")
	}
	return signed.Facts(t, nil), nil
}
