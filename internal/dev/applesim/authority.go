package applesim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// authority signs receipts: a root, an intermediate and a leaf in the shape of
// Apple's, with keys and certificates that follow from the seed.
type authority struct {
	root, intermediate, leaf *x509.Certificate
	key                      *rsa.PrivateKey // of leaf
}

// Apple's marker extensions: the intermediate of the Worldwide Developer
// Relations and the leaf that signs receipts.
// https://developer.apple.com/documentation/appstorereceipts/validating_receipts_on_the_device
var (
	oidIntermediateMarker = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 2, 1}
	oidReceiptMarker      = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 11, 1}
)

func newAuthority(seed uint64) (*authority, error) {
	var keys [3]*rsa.PrivateKey
	primes := newPrimes(seed)
	for i := range keys {
		key, err := primes.key()
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		keys[i] = key
	}
	a := &authority{key: keys[2]}
	var err error
	root := certificate(1, "Simulated Root CA", "Simulated Certification Authority", nil)
	if a.root, err = issue(root, root, &keys[0].PublicKey, keys[0]); err != nil {
		return nil, err
	}
	intermediate := certificate(2, "Simulated Worldwide Developer Relations Certification Authority", "G1", oidIntermediateMarker)
	if a.intermediate, err = issue(intermediate, a.root, &keys[1].PublicKey, keys[0]); err != nil {
		return nil, err
	}
	leaf := certificate(3, "Simulated App Store Receipt Signing", "Simulated Worldwide Developer Relations", oidReceiptMarker)
	leaf.IsCA, leaf.KeyUsage = false, x509.KeyUsageDigitalSignature
	if a.leaf, err = issue(leaf, a.intermediate, &keys[2].PublicKey, keys[1]); err != nil {
		return nil, err
	}
	return a, nil
}

// certificate is a template of a certification authority that is valid for
// longer than anybody simulates.
func certificate(serial int64, name, unit string, marker asn1.ObjectIdentifier) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: new(big.Int).Add(big.NewInt(serial), new(big.Int).Lsh(big.NewInt(0x51a), 48)),
		Subject: pkix.Name{
			CommonName: name, OrganizationalUnit: []string{unit}, Organization: []string{"Simulated Store Inc."}, Country: []string{"US"},
		},
		NotBefore:             time.Date(2006, 4, 25, 21, 40, 36, 0, time.UTC),
		NotAfter:              time.Date(2049, 2, 9, 21, 40, 36, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if marker != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: marker, Value: asn1.NullBytes}}
	}
	return template
}

func issue(template, parent *x509.Certificate, public *rsa.PublicKey, key *rsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// sign signs content as app receipts are signed today. The signature of the
// same content is always the same.
func (a *authority) sign(content []byte) ([]byte, error) {
	sum := sha256.Sum256(content)
	return rsa.SignPKCS1v15(nil, a.key, crypto.SHA256, sum[:])
}

func (a *authority) verify(content, signature []byte) bool {
	sum := sha256.Sum256(content)
	return rsa.VerifyPKCS1v15(&a.key.PublicKey, crypto.SHA256, sum[:], signature) == nil
}

// signSHA1 signs content as transaction receipts of iOS 6 are signed.
func (a *authority) signSHA1(content []byte) ([]byte, error) {
	sum := sha1.Sum(content)
	return rsa.SignPKCS1v15(nil, a.key, crypto.SHA1, sum[:])
}

func (a *authority) verifySHA1(content, signature []byte) bool {
	sum := sha1.Sum(content)
	return rsa.VerifyPKCS1v15(&a.key.PublicKey, crypto.SHA1, sum[:], signature) == nil
}
