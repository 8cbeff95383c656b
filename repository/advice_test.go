package repository_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// changed is a URL with other parts.
func changed(t *testing.T, text string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// TestConnectionErrorsSayTheirCause meets real servers that refuse in each way.
func TestConnectionErrorsSayTheirCause(t *testing.T) {
	t.Parallel()
	at := repositorytest.URL(t).Reveal()
	secured := ownPostgres(t)
	enableTLS(t, secured.URL, secured.Own)
	closing := closes(t)
	for name, test := range map[string]struct{ url, want string }{
		"no TLS":         {changed(t, at, func(u *url.URL) { u.RawQuery = "" }), "sslmode=disable"},
		"wrong password": {as(t, at, "postgres", "hunter2"), "correct the user and the password"},
		"no role":        {as(t, at, "nobody_of_that_name", "hunter2"), "correct the user and the password"},
		"no database":    {changed(t, at, func(u *url.URL) { u.Path = "/nothing_of_that_name" }), "createdb"},
		"no parameter":   {changed(t, at, func(u *url.URL) { u.RawQuery += "&channel_bindings=require" }), "leave it out"},
		"self-signed":    {changed(t, secured.URL, func(u *url.URL) { u.RawQuery = "sslmode=verify-full" }), "sslrootcert"},
		"no Postgres":    {"postgres://u:hunter2@" + closing + "/x?sslmode=disable", "is it Postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := openAt(t, test.url).Ping(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestMigrateWithoutRights has a role that may create nothing.
func TestMigrateWithoutRights(t *testing.T) {
	t.Parallel()
	server := ownPostgres(t)
	super := admin(t, server.URL)
	_, asRole := role(t, super, server.URL)
	mustExec(t, super, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	_, err := openAt(t, asRole).Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "as the owner of the schema") {
		t.Errorf("got %v, want who has to migrate", err)
	}
}

// TestVariablesOfLibpq has one that the driver refuses. Its parent's environment is
// changed, so that it is not parallel.
func TestVariablesOfLibpq(t *testing.T) {
	t.Setenv("PGSSLCRL", "/etc/crl.pem")
	_, err := repository.Open(repository.Config{URL: secret.New("postgres://u:hunter2@localhost/x")})
	if err == nil || !strings.Contains(err.Error(), "PGSSLCRL") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want the variable named and no password", err)
	}
}

// closes is the address of a server that ends each connection.
func closes(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 1024)
			_, _ = conn.Read(buffer) // what is unread would make it a reset
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// enableTLS gives a server a certificate that it signed itself.
func enableTLS(t *testing.T, at string, own func(string) error) {
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
	// Not t.TempDir, whose parent the server's user may not enter.
	folder, err := os.MkdirTemp("", "tls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	var statements []string
	for setting, block := range map[string]*pem.Block{
		"ssl_cert_file": {Type: "CERTIFICATE", Bytes: certificate}, "ssl_key_file": {Type: "PRIVATE KEY", Bytes: encoded},
	} {
		file := filepath.Join(folder, setting)
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := own(file); err != nil {
			t.Fatal(err)
		}
		statements = append(statements, fmt.Sprintf(`ALTER SYSTEM SET %s = '%s'`, setting, file))
	}
	if err := own(folder); err != nil {
		t.Fatal(err)
	}
	mustExec(t, admin(t, at), append(statements, `ALTER SYSTEM SET ssl = on`, `SELECT pg_reload_conf()`)...)
}
