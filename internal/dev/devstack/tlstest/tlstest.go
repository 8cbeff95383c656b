// Package tlstest makes certificates for the servers of tests.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are a self-signed certificate for 127.0.0.1 and its key.
type Files struct{ Folder, Certificate, Key string }

// SelfSigned writes them. A server may run as another user, who can enter the folder
// but, unlike that of t.TempDir, is given the files by own; nil leaves the key
// readable for all.
func SelfSigned(t testing.TB, own func(path string) error) Files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "tls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	f := Files{Folder: folder, Certificate: filepath.Join(folder, "cert"), Key: filepath.Join(folder, "key")}
	mode := os.FileMode(0o600) // Postgres refuses a key that others may read
	if own == nil {
		mode, own = 0o644, func(string) error { return nil }
	}
	err = errors.Join(
		os.Chmod(folder, 0o755),
		os.WriteFile(f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), mode),
		os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), mode),
		own(f.Certificate), own(f.Key), own(folder),
	)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
