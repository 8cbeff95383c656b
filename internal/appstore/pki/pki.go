// Package pki holds what Apple's certificates must look like: the pinned roots,
// the check of a chain, of its revocation, and the reasons why a signature is
// not believed. It leaves what was signed to its callers: internal/receipt for
// PKCS#7 receipts and internal/appstore/signed for JWS.
package pki

import (
	"crypto/x509"
	_ "embed"
	"fmt"
	"sync"
)

// Apple's roots as Apple publishes them.
// https://www.apple.com/certificateauthority/
var (
	//go:embed roots/AppleIncRootCertificate.cer
	rootCA []byte
	//go:embed roots/AppleRootCA-G3.cer
	rootCAG3 []byte
)

var (
	parseRootCA   = sync.OnceValue(func() *x509.Certificate { return mustParse(rootCA) })
	parseRootCAG3 = sync.OnceValue(func() *x509.Certificate { return mustParse(rootCAG3) })
)

// AppleRootCA is the RSA root of receipts. It must not be changed.
func AppleRootCA() *x509.Certificate { return parseRootCA() }

// AppleRootCAG3 is the elliptic curve root of every JWS. It must not be changed.
func AppleRootCAG3() *x509.Certificate { return parseRootCAG3() }

// mustParse panics for data that is part of the program.
func mustParse(der []byte) *x509.Certificate {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(fmt.Sprintf("embedded root: %v", err))
	}
	return c
}
