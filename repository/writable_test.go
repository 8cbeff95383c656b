package repository_test

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	osexec "os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/lib/pq"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/dev/devstack"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// admin is a connection with every right to a database.
func admin(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// role creates a role with no rights, until the test ends, and returns its name and
// the URL of a database as that role.
func role(t *testing.T, db *sql.DB, database string) (name, asRole string) {
	t.Helper()
	name = "role_" + strings.ToLower(rand.Text()[:10])
	mustExec(t, db, fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD 'a password'`, name))
	t.Cleanup(func() {
		for _, s := range []string{`DROP OWNED BY `, `DROP ROLE `} {
			if _, err := db.Exec(s + name); err != nil {
				t.Errorf("%s%s: %v", s, name, err)
			}
		}
	})
	return name, as(t, database, name, "a password")
}

// as is the URL of a database for another user.
func as(t *testing.T, database, user, password string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func openAt(t *testing.T, url string) *repository.DB {
	t.Helper()
	db, err := repository.Open(repository.Config{URL: secret.New(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// mustRefuse wants a database that may not be written, for a reason.
func mustRefuse(t *testing.T, db *repository.DB, reason string) {
	t.Helper()
	if err := db.Writable(t.Context()); !errors.Is(err, database.ErrNotWritable) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want %v and %q", err, database.ErrNotWritable, reason)
	}
}

func mustBeWritable(t *testing.T, db *repository.DB) {
	t.Helper()
	if err := db.Writable(t.Context()); err != nil {
		t.Errorf("not writable: %v", err)
	}
}

// TestWritableSessions has sessions that become read-only and, on connections that
// stay open, writable again.
func TestWritableSessions(t *testing.T) {
	t.Parallel()
	at := repositorytest.URL(t).Reveal()
	super := admin(t, at)
	var name string
	if err := super.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	db := openAt(t, at)
	mustBeWritable(t, db)
	mustExec(t, super, `ALTER DATABASE `+pq.QuoteIdentifier(name)+` SET default_transaction_read_only = on`)
	late := openAt(t, at)
	mustRefuse(t, late, "set by: database")
	if err := late.AddApp(t.Context(), apps.App{BundleID: "com.example.a", RatePerSecond: 1, Burst: 1}); !errors.Is(err, database.ErrNotWritable) {
		t.Errorf("a statement: got %v, want %v", err, database.ErrNotWritable)
	}
	mustExec(t, super, `ALTER DATABASE `+pq.QuoteIdentifier(name)+` RESET default_transaction_read_only`)
	_ = late.Writable(t.Context()) // still the old connection, which it closes
	mustBeWritable(t, late)
}

// TestWritableRights has roles that lack some.
func TestWritableRights(t *testing.T) {
	t.Parallel()
	at := repositorytest.URL(t).Reveal()
	super := admin(t, at)
	name, asRole := role(t, super, at)
	mustExec(t, super, `REVOKE ALL ON SCHEMA public FROM PUBLIC`)
	mustRefuse(t, openAt(t, asRole), "USAGE on the schema")
	mustExec(t, super, `GRANT USAGE ON SCHEMA public TO `+name, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+name)
	mustRefuse(t, openAt(t, asRole), "lacks rights on apps (INSERT, UPDATE, DELETE)")
	mustExec(t, super, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+name, `REVOKE DELETE ON purchases FROM `+name)
	mustRefuse(t, openAt(t, asRole), "lacks rights on purchases (DELETE): deploy")
	mustExec(t, super, `GRANT DELETE ON purchases TO `+name)
	mustBeWritable(t, openAt(t, asRole))
}

// TestWritableKnowsEveryTable compares its list with the tables that there are.
func TestWritableKnowsEveryTable(t *testing.T) {
	t.Parallel()
	at := repositorytest.URL(t).Reveal()
	super := admin(t, at)
	name, asRole := role(t, super, at)
	rows, err := super.QueryContext(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	mustExec(t, super, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+name)
	db := openAt(t, asRole)
	for _, table := range tables {
		mustExec(t, super, `REVOKE UPDATE ON `+table+` FROM `+name)
		readOnly := slices.Contains([]string{"goose_db_version", "goose_lock", "installation"}, table)
		if err := db.Writable(t.Context()); (err == nil) != readOnly {
			t.Errorf("without UPDATE on %s: got %v", table, err)
		}
		mustExec(t, super, `GRANT UPDATE ON `+table+` TO `+name)
	}
}

// TestWritableStandby has the server become a standby, and a primary again.
func TestWritableStandby(t *testing.T) {
	t.Parallel()
	server := ownPostgres(t)
	db := openAt(t, server.URL)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBeWritable(t, db)
	if err := server.Demote(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, db, "standby")
	mustExec(t, admin(t, server.URL), `SELECT pg_promote()`)
	mustBeWritable(t, db)
}

// ownPostgres is a server for this test alone.
func ownPostgres(t *testing.T) *devstack.Postgres {
	t.Helper()
	server, err := devstack.StartPostgres(t.Context(), devstack.Config{})
	if errors.Is(err, devstack.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	return server
}

// TestRoleScript has psql make the least role, with which the database may be written
// and not be changed in its schema.
func TestRoleScript(t *testing.T) {
	t.Parallel()
	psql, err := osexec.LookPath("psql")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("psql is not installed")
	}
	at := repositorytest.URL(t).Reveal()
	super := admin(t, at)
	name, _ := role(t, super, at)
	asRole := as(t, at, name, "another 'password'")
	for range 2 { // again after a migration
		c := osexec.CommandContext(t.Context(), psql, "-X", "-q", "-d", at, "-v", "role="+name, "-v", "password=another 'password'",
			"-f", "../deploy/postgres-role.sql")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	db := openAt(t, asRole)
	mustBeWritable(t, db)
	if err := db.AddApp(t.Context(), apps.App{BundleID: "com.example.a", RatePerSecond: 1, Burst: 1}); err != nil {
		t.Error(err)
	}
	for _, s := range []string{`DROP TABLE receipts`, `CREATE TABLE mine ()`, `UPDATE installation SET id = id`} {
		if _, err := admin(t, asRole).ExecContext(t.Context(), s); err == nil && !strings.HasPrefix(s, "CREATE") {
			t.Errorf("the role may %s", s)
		}
	}
}
