// Package signed verifies what Apple signs as a JSON Web Signature: transactions,
// renewal information, app transactions and App Store Server Notifications V2,
// whether they come from a device, from a reply of the Server API or as a
// notification. It turns them into facts (iap types), and leaves certificates to
// internal/appstore/pki and what follows from a failure to its callers.
package signed

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
)

// Config is what a Verifier needs. Every zero field has a default.
type Config struct {
	// Roots are the roots that a chain may end in. Default: Apple Root CA - G3.
	// Whoever passes others takes anything that they sign for Apple's.
	Roots []*x509.Certificate
	// Skew is how far ahead of the clock a signing date may be. Default 5 min.
	Skew time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Revocation asks whether a certificate was revoked; pki.OCSP is one. Nil
	// means that nobody is asked.
	Revocation Revocation
	// MaxBytes bounds one JWS. Default 256 KiB: a notification with both of its
	// payloads has some 15 KB.
	MaxBytes int
	// MaxChains bounds how many verified chains are remembered. Default 32: Apple
	// signs with a few certificates at a time.
	MaxChains int
}

// Revocation reports whether a chain held when something was signed. Its errors
// are *pki.Error.
type Revocation interface {
	Check(ctx context.Context, c *pki.Chain, signed time.Time) error
}

// Verifier verifies payloads. It is safe for concurrent use. Its errors are
// *pki.Error, which unwrap to pki.ErrUndetermined or pki.ErrDisproved.
type Verifier struct {
	roots      []*x509.Certificate
	skew       time.Duration
	now        func() time.Time
	revocation Revocation
	maxBytes   int
	chains     chains
}

// New returns a Verifier, or an error that names every field it cannot use.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{
		roots:      cfg.Roots,
		skew:       cmp.Or(cfg.Skew, 5*time.Minute),
		now:        cfg.Now,
		revocation: cfg.Revocation,
		maxBytes:   cmp.Or(cfg.MaxBytes, 256<<10),
	}
	v.chains.most = cmp.Or(cfg.MaxChains, 32)
	if len(v.roots) == 0 {
		v.roots = []*x509.Certificate{pki.AppleRootCAG3()}
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.skew < 0 || v.maxBytes < 0 || v.chains.most < 0 {
		return nil, errors.New("skew, size and number of chains: want positive values")
	}
	return v, nil
}

// App is the app that a payload must be about.
type App struct {
	BundleID string
	// AppAppleID is Apple's id of the app, which only payloads of production
	// carry. 0 means that it is not known, and not compared.
	AppAppleID int64
	// Environment is the one that the payload must be of; empty for either.
	Environment iap.Environment
}

// Transaction verifies a JWS of a transaction.
func (v *Verifier) Transaction(ctx context.Context, jws string, app App) (Transaction, error) {
	var t Transaction
	if err := v.verify(ctx, jws, &t); err != nil {
		return Transaction{}, err
	}
	if err := app.check(t.BundleID, t.Environment); err != nil {
		return Transaction{}, err
	}
	return t, nil
}

// RenewalInfo verifies a JWS of renewal information. It names no app, so that it
// is as good as the transaction of the same subscription with which it came: of,
// which must be verified. Without one (nil) only the environment is compared.
func (v *Verifier) RenewalInfo(ctx context.Context, jws string, app App, of *Transaction) (RenewalInfo, error) {
	var r RenewalInfo
	if err := v.verify(ctx, jws, &r); err != nil {
		return RenewalInfo{}, err
	}
	if err := app.checkEnvironment(r.Environment); err != nil {
		return RenewalInfo{}, err
	}
	switch {
	case r.hasTransactionID:
		return RenewalInfo{}, pki.Errorf(pki.ReasonUnsupportedKind, "a transaction in place of renewal information")
	case of != nil && (r.OriginalTransactionID != of.OriginalTransactionID || r.Environment != of.Environment):
		return RenewalInfo{}, pki.Errorf(pki.ReasonWrongTransaction, "renewal information of another subscription")
	}
	return r, nil
}

// AppTransaction verifies a JWS of an app transaction.
func (v *Verifier) AppTransaction(ctx context.Context, jws string, app App) (AppTransaction, error) {
	var a AppTransaction
	if err := v.verify(ctx, jws, &a); err != nil {
		return AppTransaction{}, err
	}
	if err := app.checkAll(a.BundleID, a.Environment, a.AppAppleID); err != nil {
		return AppTransaction{}, err
	}
	return a, nil
}

// Notification verifies the signedPayload of a notification and the payloads in
// it, which must be about the same app and environment.
func (v *Verifier) Notification(ctx context.Context, signedPayload string, app App) (Notification, error) {
	var n Notification
	if err := v.verify(ctx, signedPayload, &n); err != nil {
		return Notification{}, err
	}
	if err := n.check(app); err != nil {
		return Notification{}, err
	}
	if err := v.inner(ctx, &n); err != nil {
		return Notification{}, err
	}
	return n, nil
}

func (v *Verifier) inner(ctx context.Context, n *Notification) error {
	if d := n.AppData; d != nil && d.SignedAppTransactionInfo != "" {
		a, err := v.AppTransaction(ctx, d.SignedAppTransactionInfo, App{BundleID: d.BundleID, Environment: d.Environment})
		if err != nil {
			return fmt.Errorf("signedAppTransactionInfo: %w", err)
		}
		d.AppTransaction = &a
	}
	d := n.Data
	if d == nil {
		return nil
	}
	app := App{BundleID: d.BundleID, Environment: d.Environment}
	if d.SignedTransactionInfo != "" {
		t, err := v.Transaction(ctx, d.SignedTransactionInfo, app)
		if err != nil {
			return fmt.Errorf("signedTransactionInfo: %w", err)
		}
		d.Transaction = &t
	}
	if d.SignedRenewalInfo != "" {
		r, err := v.RenewalInfo(ctx, d.SignedRenewalInfo, app, d.Transaction)
		if err != nil {
			return fmt.Errorf("signedRenewalInfo: %w", err)
		}
		d.RenewalInfo = &r
	}
	return nil
}

// payload is one of the decoded payloads.
type payload interface {
	decode(text []byte)
	common() *Common
}

func (c *Common) common() *Common { return c }

// verify checks everything about a JWS that does not depend on what it is about,
// and decodes it.
func (v *Verifier) verify(ctx context.Context, jws string, p payload) error {
	text, chain, err := v.open(strings.TrimSpace(jws))
	if err != nil {
		if c, peekErr := Peek(jws); peekErr == nil && isTestEnvironment(c.Environment) {
			return testEnvironment(c.Environment)
		}
		return err
	}
	if !json.Valid(text) {
		return pki.Errorf(pki.ReasonMalformed, "the payload is not JSON")
	}
	p.decode(text)
	c := p.common()
	c.Signer = chain.Signer()
	if err := v.checkDate(chain, c.SignedDate); err != nil {
		return err
	}
	if v.revocation != nil {
		return v.revocation.Check(ctx, chain, c.SignedDate)
	}
	return nil
}

// checkDate judges the chain at the date of the signature, as every payload that
// is kept outlives its certificate.
func (v *Verifier) checkDate(chain *pki.Chain, signed time.Time) error {
	switch {
	case signed.IsZero():
		return pki.Errorf(pki.ReasonNoSignedDate, "")
	case signed.After(v.now().Add(v.skew)):
		return pki.Errorf(pki.ReasonSignedInFuture, "signed at %s, ahead of our clock", signed.Format(time.RFC3339))
	}
	return chain.At(signed)
}

// strict is the base64 of a JWS. It still passes over line breaks, which open
// refuses.
var strict = base64.RawURLEncoding.Strict()

// open checks the chain and the signature, and returns the payload. The chain is
// built only where the protected header is new: it is the same for months, and
// its certificates cost three times as much to read as a signature to verify.
func (v *Verifier) open(jws string) ([]byte, *pki.Chain, error) {
	if len(jws) > v.maxBytes {
		return nil, nil, pki.Errorf(pki.ReasonTooLarge, "%d bytes, may be %d", len(jws), v.maxBytes)
	}
	header, text, signature, err := split(jws)
	if err != nil {
		return nil, nil, err
	}
	chain := v.chains.get(header)
	isNew := chain == nil
	if isNew {
		if chain, err = v.readHeader(jws, header); err != nil {
			return nil, nil, err
		}
	}
	if !isSigned(chain, jws[:len(header)+1+base64.RawURLEncoding.EncodedLen(len(text))], signature) {
		return nil, nil, pki.Errorf(pki.ReasonBadSignature, "")
	}
	if isNew {
		// Last: whoever cannot sign a header cannot push others out.
		v.chains.add(header, chain)
	}
	return text, chain, nil
}

func split(jws string) (header string, text, signature []byte, err error) {
	header, rest, _ := strings.Cut(jws, ".")
	body, tail, found := strings.Cut(rest, ".")
	if !found || strings.ContainsAny(jws, "\r\n") {
		return "", nil, nil, pki.Errorf(pki.ReasonMalformed, "not a JWS in compact form")
	}
	text, err = strict.DecodeString(body)
	if err == nil {
		signature, err = strict.DecodeString(tail) // a third dot fails here
	}
	if err != nil {
		return "", nil, nil, pki.Errorf(pki.ReasonMalformed, "a part of the JWS is not base64 in the URL alphabet")
	}
	return header, text, signature, nil
}

// isSigned verifies ES256: the two numbers of the signature, 32 bytes each.
func isSigned(chain *pki.Chain, input string, signature []byte) bool {
	key, ok := chain.Leaf().PublicKey.(*ecdsa.PublicKey)
	if !ok || len(signature) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(input))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, sum[:], r, s)
}
