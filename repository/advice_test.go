package repository_test

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"revalidator/internal/dev/devstack/tlstest"
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
	files := tlstest.SelfSigned(t, own)
	mustExec(t, admin(t, at), fmt.Sprintf(`ALTER SYSTEM SET ssl_cert_file = '%s'`, files.Certificate),
		fmt.Sprintf(`ALTER SYSTEM SET ssl_key_file = '%s'`, files.Key), `ALTER SYSTEM SET ssl = on`, `SELECT pg_reload_conf()`)
}
