package pki_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/dev/applesign"
)

// responder is Apple's OCSP responder for both certificates of a chain.
type responder struct {
	authority *applesign.Authority
	asked     atomic.Int64
	// reply changes the reply about the leaf, and may change who signs it.
	reply func(r *ocsp.Response, signer *signer)
	// handle replaces everything.
	handle http.HandlerFunc
}

type signer struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

var ocspNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newChain(t *testing.T, r *responder) *pki.Chain {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	a, err := applesign.NewEC(applesign.Config{OCSP: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	r.authority = a
	chain, err := pki.Verify(a.Certificates[applesign.Leaf], a.Certificates[applesign.Intermediate], a.Certificates[:1])
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.asked.Add(1)
	if r.handle != nil {
		r.handle(w, q)
		return
	}
	body, _ := io.ReadAll(q.Body)
	request, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply := ocsp.Response{
		Status: ocsp.Good, SerialNumber: request.SerialNumber, IssuerHash: request.HashAlgorithm,
		ThisUpdate: ocspNow.Add(-time.Hour), NextUpdate: ocspNow.Add(12 * time.Hour),
	}
	issuer := applesign.Root
	if request.SerialNumber.Cmp(r.authority.Certificates[applesign.Leaf].SerialNumber) == 0 {
		issuer = applesign.Intermediate
	}
	s := &signer{r.authority.Certificates[issuer], r.authority.Keys[issuer]}
	if r.reply != nil && issuer == applesign.Intermediate {
		r.reply(&reply, s)
	}
	der, err := ocsp.CreateResponse(r.authority.Certificates[issuer], s.certificate, reply, s.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(der)
}

// appointed is a responder's certificate that the intermediate issued.
func (r *responder) appointed(t *testing.T, change func(*x509.Certificate)) *signer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), NotBefore: ocspNow.Add(-time.Hour), NotAfter: ocspNow.Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
	}
	change(template)
	key := r.authority.Keys[applesign.Leaf]
	c, err := applesign.Issue(template, r.authority.Certificates[applesign.Intermediate], key.Public(), r.authority.Keys[applesign.Intermediate])
	if err != nil {
		t.Error(err)
	}
	return &signer{c, key}
}

func TestOCSP(t *testing.T) {
	t.Parallel()
	signed := ocspNow.AddDate(-1, 0, 0)
	tests := map[string]struct {
		reply func(t *testing.T, r *responder) func(*ocsp.Response, *signer)
		want  pki.Reason
	}{
		"good": {func(*testing.T, *responder) func(*ocsp.Response, *signer) { return nil }, ""},
		"appointed responder": {func(t *testing.T, r *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, s *signer) {
				*s = *r.appointed(t, func(*x509.Certificate) {})
				reply.Certificate = s.certificate
			}
		}, ""},
		"responder of another purpose": {func(t *testing.T, r *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, s *signer) {
				*s = *r.appointed(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil })
				reply.Certificate = s.certificate
			}
		}, pki.ReasonRevocationUnknown},
		"expired responder": {func(t *testing.T, r *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, s *signer) {
				*s = *r.appointed(t, func(c *x509.Certificate) { c.NotAfter = ocspNow.Add(-time.Minute) })
				reply.Certificate = s.certificate
			}
		}, pki.ReasonRevocationUnknown},
		"signed by the leaf": {func(_ *testing.T, r *responder) func(*ocsp.Response, *signer) {
			return func(_ *ocsp.Response, s *signer) { s.key = r.authority.Keys[applesign.Leaf] }
		}, pki.ReasonRevocationUnknown},
		"unknown": {func(*testing.T, *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, _ *signer) { reply.Status = ocsp.Unknown }
		}, pki.ReasonRevocationUnknown},
		"too old": {func(*testing.T, *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, _ *signer) { reply.NextUpdate = ocspNow.Add(-2 * time.Minute) }
		}, pki.ReasonRevocationUnknown},
		"of the future": {func(*testing.T, *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, _ *signer) { reply.ThisUpdate = ocspNow.Add(time.Hour) }
		}, pki.ReasonRevocationUnknown},
		"revoked before": {func(*testing.T, *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, _ *signer) {
				reply.Status, reply.RevokedAt = ocsp.Revoked, signed.Add(-time.Hour)
			}
		}, pki.ReasonCertificateRevoked},
		"revoked after": {func(*testing.T, *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, _ *signer) {
				reply.Status, reply.RevokedAt, reply.RevocationReason = ocsp.Revoked, signed.Add(time.Hour), ocsp.Superseded
			}
		}, ""},
		"stolen after": {func(*testing.T, *responder) func(*ocsp.Response, *signer) {
			return func(reply *ocsp.Response, _ *signer) {
				reply.Status, reply.RevokedAt, reply.RevocationReason = ocsp.Revoked, signed.Add(time.Hour), ocsp.KeyCompromise
			}
		}, pki.ReasonCertificateRevoked},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &responder{}
			chain := newChain(t, r)
			r.reply = test.reply(t, r)
			o := pki.NewOCSP(pki.OCSPConfig{Now: func() time.Time { return ocspNow }})
			if err := o.Check(t.Context(), chain, signed); pki.ReasonOf(err) != test.want {
				t.Errorf("got %v, want reason %q", err, test.want)
			}
		})
	}
}

func TestOCSPOutage(t *testing.T) {
	t.Parallel()
	tests := map[string]http.HandlerFunc{
		"HTTP 500":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"a page":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"empty":     func(http.ResponseWriter, *http.Request) {},
		"try later": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ocsp.TryLaterErrorResponse) },
		"redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"endless":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
		"hung up":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, handle := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := newChain(t, &responder{handle: handle})
			err := pki.NewOCSP(pki.OCSPConfig{Now: func() time.Time { return ocspNow }}).Check(t.Context(), chain, ocspNow)
			e, ok := errors.AsType[*pki.Error](err)
			if !ok || !e.Retryable() || !errors.Is(err, pki.ErrUndetermined) {
				t.Errorf("got %v, want one that can be retried", err)
			}
		})
	}
}

func TestOCSPRemembers(t *testing.T) {
	t.Parallel()
	r := &responder{}
	chain := newChain(t, r)
	now := ocspNow
	o := pki.NewOCSP(pki.OCSPConfig{Now: func() time.Time { return now }, MaxAge: time.Hour})
	for _, step := range []struct {
		after time.Duration
		asked int64
	}{{0, 2}, {0, 2}, {59 * time.Minute, 2}, {time.Minute, 4}, {0, 4}} {
		now = now.Add(step.after)
		if err := o.Check(t.Context(), chain, ocspNow); err != nil {
			t.Fatal(err)
		}
		if got := r.asked.Load(); got != step.asked {
			t.Errorf("at %s: asked %d times, want %d", now.Format(time.TimeOnly), got, step.asked)
		}
	}
}

func TestOCSPWithoutResponder(t *testing.T) {
	t.Parallel()
	a, err := applesign.NewEC(applesign.Config{})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Verify(a.Certificates[applesign.Leaf], a.Certificates[applesign.Intermediate], a.Certificates[:1])
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.NewOCSP(pki.OCSPConfig{}).Check(t.Context(), chain, ocspNow); pki.ReasonOf(err) != pki.ReasonRevocationUnknown {
		t.Errorf("got %v, want %s", err, pki.ReasonRevocationUnknown)
	}
}
