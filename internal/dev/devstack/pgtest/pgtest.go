// Package pgtest gives each test a Postgres database of its own, copied from a
// template that is prepared once. What the template holds is left to the
// caller. It is imported by tests only.
package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"revalidator/internal/dev/devstack"
)

// URLVariable names the environment variable with the URL of the server to
// use, as a user who may create databases. Where it is empty the test program
// starts a throw-away server of its own, which dies with it.
const URLVariable = "REVALIDATOR_TEST_POSTGRES_URL"

// timeout bounds the work on the server for one test, which may wait for
// another test program that prepares the same template.
const timeout = 2 * time.Minute

// Database returns the URL of a database for this test alone, which is dropped
// when the test ends. It is a copy of the template, a database that prepare
// fills when the server has none of that name yet; prepare must close its
// connections before it returns. A server that outlives the tests keeps its
// templates: where prepare changes over time, so must the name.
//
// The test is skipped on a machine where no Postgres can be had, and fails
// there in CI, which is wherever the variable CI is set.
func Database(t testing.TB, template string, prepare func(ctx context.Context, url string) error) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server := connect(ctx, t)
	source, err := server.template(ctx, template, prepare)
	if err != nil {
		t.Fatalf("prepare the template database %s: %v", template, err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := server.exec(ctx, "CREATE DATABASE %s TEMPLATE %s", name, source); err != nil {
		t.Fatalf("copy the template database %s: %v", template, err)
	}
	t.Cleanup(func() { server.drop(t, name) })
	return server.url(name)
}

// Encoded returns the URL of an empty database for this test alone, which keeps
// texts in another encoding than the server's own, such as LATIN1.
func Encoded(t testing.TB, encoding string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server := connect(ctx, t)
	name := "test_" + strings.ToLower(rand.Text())
	create := "CREATE DATABASE %s TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING " + pq.QuoteLiteral(encoding)
	if err := server.exec(ctx, create, name); err != nil {
		t.Fatalf("create a database in %s: %v", encoding, err)
	}
	t.Cleanup(func() { server.drop(t, name) })
	return server.url(name)
}

// started is the one server of this test program. It is not stopped: only the
// end of the program is certain to come after the last test, and ends it.
var started = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	postgres, err := devstack.StartPostgres(ctx, devstack.Config{})
	if err != nil {
		return "", err
	}
	return postgres.URL, nil
})

// server is a Postgres and a connection to its maintenance database, closed
// when the test ends.
type server struct {
	base *url.URL
	db   *sql.DB
}

func connect(ctx context.Context, t testing.TB) server {
	t.Helper()
	base, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatalf("%s is not a URL", URLVariable) // The error would show the password.
	}
	db, err := sql.Open("postgres", base.String())
	if err != nil {
		t.Fatalf("open %s: %v", base.Redacted(), err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.PingContext(ctx); err != nil {
		t.Fatalf("connect to %s: %v", base.Redacted(), err)
	}
	return server{base: base, db: db}
}

func serverURL(t testing.TB) string {
	t.Helper()
	if given := os.Getenv(URLVariable); given != "" {
		return given
	}
	own, err := started()
	switch {
	case errors.Is(err, devstack.ErrNotInstalled) && os.Getenv("CI") == "":
		t.Skipf("this test needs Postgres: %v", err)
	case err != nil:
		t.Fatalf("this test needs Postgres: %v", err)
	}
	return own
}

func (s server) url(database string) string {
	address := *s.base
	address.Path = "/" + database
	return address.String()
}

// exec runs a statement about databases, whose names cannot be parameters.
func (s server) exec(ctx context.Context, statement string, databases ...string) error {
	quoted := make([]any, 0, len(databases))
	for _, name := range databases {
		quoted = append(quoted, pq.QuoteIdentifier(name))
	}
	_, err := s.db.ExecContext(ctx, fmt.Sprintf(statement, quoted...))
	return err
}

// drop closes what the test left open: a test that leaks a connection should
// fail for that, not here.
func (s server) drop(t testing.TB, database string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	if err := s.exec(ctx, "DROP DATABASE %s WITH (FORCE)", database); err != nil {
		t.Errorf("drop the database of the test: %v", err)
	}
}
