package pki

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	maxOCSPReply = 64 << 10 // bytes; real replies have 1 to 4 KB
	// ocspSkew is by how much the clocks of a responder and ours may differ.
	ocspSkew = time.Minute
)

// OCSPConfig is what an OCSP needs. Every zero field has a default.
type OCSPConfig struct {
	// HTTPClient asks Apple's responders, which answer over plain HTTP: their
	// replies are signed. Default: a client without redirects.
	HTTPClient *http.Client
	// Timeout is for one request. Default 10 s.
	Timeout time.Duration
	// MaxAge is for how long a reply is believed without asking again, and no
	// longer than it says itself. Default 1 h.
	MaxAge time.Duration
	// MaxEntries bounds the cache. Default 64 certificates.
	MaxEntries int
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// OCSP asks whether certificates were revoked, and remembers the replies. It is
// safe for concurrent use.
type OCSP struct {
	http       *http.Client
	timeout    time.Duration
	maxAge     time.Duration
	maxEntries int
	now        func() time.Time

	mu    sync.Mutex
	known map[certificateHash]revocation
}

type certificateHash [sha256.Size]byte

// revocation is what a responder said of one certificate.
type revocation struct {
	until   time.Time // when it must be asked again
	revoked time.Time // zero where it is good
	always  bool      // also for what was signed before revoked
}

// NewOCSP returns an OCSP.
func NewOCSP(cfg OCSPConfig) *OCSP {
	o := &OCSP{
		http:       cfg.HTTPClient,
		timeout:    cmp.Or(cfg.Timeout, 10*time.Second),
		maxAge:     cmp.Or(cfg.MaxAge, time.Hour),
		maxEntries: cmp.Or(cfg.MaxEntries, 64),
		now:        cfg.Now,
		known:      make(map[certificateHash]revocation),
	}
	if o.http == nil {
		o.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.now == nil {
		o.now = time.Now
	}
	return o
}

// Check asks about the leaf and the intermediate of a chain, unless both were
// asked about lately. signed is the date of the signature: what was signed
// before a revocation stays good, unless a key was stolen. Its errors are
// *Error with ReasonCertificateRevoked or, for anything that went wrong on the
// way, ReasonRevocationUnknown.
func (o *OCSP) Check(ctx context.Context, c *Chain, signed time.Time) error {
	for _, pair := range [][2]*x509.Certificate{{c.leaf, c.intermediate}, {c.intermediate, c.root}} {
		r, err := o.revocation(ctx, pair[0], pair[1])
		if err != nil {
			return Errorf(ReasonRevocationUnknown, "%.100s: %v", name(pair[0]), err)
		}
		if !r.revoked.IsZero() && (r.always || !signed.Before(r.revoked)) {
			return Errorf(ReasonCertificateRevoked, "%.100s, on %s", name(pair[0]), r.revoked.Format(time.DateOnly))
		}
	}
	return nil
}

func (o *OCSP) revocation(ctx context.Context, cert, issuer *x509.Certificate) (revocation, error) {
	key := certificateHash(sha256.Sum256(cert.Raw))
	o.mu.Lock()
	r, ok := o.known[key]
	o.mu.Unlock()
	if ok && o.now().Before(r.until) {
		return r, nil
	}
	// Two callers may ask at once. That costs a request, and a lock that is
	// held over a request would cost every caller the timeout.
	r, err := o.ask(ctx, cert, issuer)
	if err != nil {
		return r, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= o.maxEntries {
		clear(o.known)
	}
	o.known[key] = r
	return r, nil
}

// ask makes one request. Its texts hold nothing that the responder sent.
func (o *OCSP) ask(ctx context.Context, cert, issuer *x509.Certificate) (revocation, error) {
	if len(cert.OCSPServer) == 0 {
		return revocation{}, errors.New("the certificate names no responder")
	}
	request, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		return revocation{}, errors.New("no request can be made for it")
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	body, err := o.post(ctx, cert.OCSPServer[0], request)
	if err != nil {
		return revocation{}, err
	}
	reply, err := ocsp.ParseResponseForCert(body, cert, issuer)
	if err != nil {
		return revocation{}, errors.New("a reply that is not a good one")
	}
	return o.judge(reply, issuer)
}

func (o *OCSP) post(ctx context.Context, address string, request []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(request))
	if err != nil {
		return nil, errors.New("the responder's address is none")
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	reply, err := o.http.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("ask the responder: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the responder answered with HTTP status %d", reply.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxOCSPReply+1))
	if err == nil && len(body) > maxOCSPReply {
		err = errors.New("reply too large")
	}
	return body, err
}

// judge checks what ocsp.ParseResponseForCert leaves out: that the reply is of
// now, and that whoever signed it may do so.
func (o *OCSP) judge(r *ocsp.Response, issuer *x509.Certificate) (revocation, error) {
	now := o.now()
	next := r.NextUpdate
	if next.IsZero() {
		next = now.Add(o.maxAge)
	}
	switch {
	case now.Add(ocspSkew).Before(r.ThisUpdate), now.Add(-ocspSkew).After(next):
		return revocation{}, errors.New("a reply of another time")
	case !mayRespond(r.Certificate, issuer, now):
		return revocation{}, errors.New("a reply of a responder that is not authorized for the issuer")
	}
	result := revocation{until: now.Add(o.maxAge)}
	if next.Before(result.until) {
		result.until = next
	}
	switch r.Status {
	case ocsp.Good:
	case ocsp.Revoked:
		result.revoked = r.RevokedAt
		result.always = r.RevocationReason == ocsp.KeyCompromise || r.RevocationReason == ocsp.CACompromise
	default:
		return revocation{}, errors.New("the responder does not know the certificate")
	}
	return result, nil
}

// mayRespond reports whether the issuer or a responder that it appointed signed
// the reply. The signatures themselves are checked before.
func mayRespond(responder, issuer *x509.Certificate, now time.Time) bool {
	if responder == nil || responder.Equal(issuer) {
		return true
	}
	return slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) &&
		!now.Before(responder.NotBefore) && !now.After(responder.NotAfter)
}
