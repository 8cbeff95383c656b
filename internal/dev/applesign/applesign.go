// Package applesign makes chains of certificates like Apple's, and signs JWS and
// PKCS#7 receipts with them, well or in any wrong way that a test asks for. It
// shares no code with the verifiers, so that a mistake cannot cancel itself out.
package applesign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"time"
)

// Role is the place of a certificate in a chain.
type Role int

// The roles, from the top down.
const (
	Root Role = iota
	Intermediate
	Leaf
)

// Apple's marker extensions. Real ones hold a NULL and are not critical.
// https://developer.apple.com/documentation/appstorereceipts/validating_receipts_on_the_device
var (
	OIDIntermediate = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 2, 1}
	OIDLeaf         = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 11, 1}
)

// Config is what a chain looks like. The zero value is one like Apple's.
type Config struct {
	// NotBefore and NotAfter are of the leaf. Default: 2020 to 2049. The other
	// certificates are valid from 2006 to 2049.
	NotBefore, NotAfter time.Time
	// SHA1 signs receipts and their certificates with SHA-1, as Apple did until
	// 2023. It is for RSA only.
	SHA1 bool
	// OCSP is the address of a responder for the two lower certificates.
	OCSP string
	// Change may spoil the template of a certificate before it is issued.
	Change func(Role, *x509.Certificate)
}

// Change is a chain of which one certificate is changed before it is issued.
func Change(role Role, f func(*x509.Certificate)) Config {
	return Config{Change: func(r Role, c *x509.Certificate) {
		if r == role {
			f(c)
		}
	}}
}

// ReadKeys reads the keys of a chain from a PEM file, as openssl genrsa and ecparam
// write them. What fuzzing has found stays signed where they are always the same.
func ReadKeys(file string) (keys [3]crypto.Signer, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return keys, err
	}
	for i := range keys {
		block, rest := pem.Decode(text)
		if block == nil {
			return keys, fmt.Errorf("%s has %d keys, want %d", file, i, len(keys))
		}
		text = rest
		if block.Type == "RSA PRIVATE KEY" {
			keys[i], err = x509.ParsePKCS1PrivateKey(block.Bytes)
		} else {
			keys[i], err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return keys, fmt.Errorf("read key %d of %s: %w", i, file, err)
		}
	}
	return keys, nil
}

// Must panics where a chain cannot be made, for variables of tests.
func Must(a *Authority, err error) *Authority {
	if err != nil {
		panic(err)
	}
	return a
}

// Authority is a chain with the keys of all three certificates.
type Authority struct {
	// Certificates are in the order of the roles, Keys likewise.
	Certificates [3]*x509.Certificate
	Keys         [3]crypto.Signer
	sha1         bool
}

// NewEC makes a chain as under Apple Root CA - G3, for JWS: P-384 above, P-256
// in the leaf.
func NewEC(cfg Config) (*Authority, error) {
	var keys [3]crypto.Signer
	for i, curve := range []elliptic.Curve{elliptic.P384(), elliptic.P384(), elliptic.P256()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return New(cfg, keys)
}

// NewRSA makes a chain as under Apple Root CA, for receipts.
func NewRSA(cfg Config) (*Authority, error) {
	var keys [3]crypto.Signer
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return New(cfg, keys)
}

// New makes a chain of keys that are there.
func New(cfg Config, keys [3]crypto.Signer) (*Authority, error) {
	a := &Authority{Keys: keys, sha1: cfg.SHA1}
	for role := Root; role <= Leaf; role++ {
		template := newTemplate(cfg, role, keys[role])
		if cfg.Change != nil {
			cfg.Change(role, template)
		}
		parent, key := template, keys[Root]
		if role > Root {
			parent, key = a.Certificates[role-1], keys[role-1]
		}
		var err error
		if a.Certificates[role], err = Issue(template, parent, keys[role].Public(), key); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Issue signs one certificate.
func Issue(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func newTemplate(cfg Config, role Role, key crypto.Signer) *x509.Certificate {
	names := [...][2]string{
		{"Simulated Root CA", "Simulated Certification Authority"},
		{"Simulated Worldwide Developer Relations Certification Authority", "G6"},
		{"Simulated App Store Receipt Signing", "Simulated Worldwide Developer Relations"},
	}
	t := &x509.Certificate{
		SerialNumber: new(big.Int).Add(big.NewInt(int64(role)+1), new(big.Int).Lsh(big.NewInt(0x51a), 48)),
		Subject: pkix.Name{
			CommonName: names[role][0], OrganizationalUnit: []string{names[role][1]},
			Organization: []string{"Simulated Store Inc."}, Country: []string{"US"},
		},
		NotBefore:             time.Date(2006, 4, 25, 21, 40, 36, 0, time.UTC),
		NotAfter:              time.Date(2049, 2, 9, 21, 40, 36, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  role != Leaf,
	}
	if _, ok := key.(*rsa.PrivateKey); ok && cfg.SHA1 {
		t.SignatureAlgorithm = x509.SHA1WithRSA
	}
	if role != Root && cfg.OCSP != "" {
		t.OCSPServer = []string{cfg.OCSP}
	}
	switch role {
	case Intermediate:
		t.MaxPathLen, t.MaxPathLenZero = 0, true
		t.ExtraExtensions = []pkix.Extension{{Id: OIDIntermediate, Value: asn1.NullBytes}}
	case Leaf:
		t.KeyUsage = x509.KeyUsageDigitalSignature
		t.ExtraExtensions = []pkix.Extension{{Id: OIDLeaf, Value: asn1.NullBytes}}
		t.NotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		if !cfg.NotBefore.IsZero() {
			t.NotBefore = cfg.NotBefore
		}
		if !cfg.NotAfter.IsZero() {
			t.NotAfter = cfg.NotAfter
		}
	}
	return t
}
