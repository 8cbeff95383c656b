// Package repositorytest gives each test a migrated database of its own. It is
// imported by tests only.
package repositorytest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pressly/goose/v3"

	"revalidator/internal/dev/devstack/pgtest"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// Open returns an empty, migrated database, which is dropped when the test
// ends.
func Open(t testing.TB) *repository.DB {
	t.Helper()
	db, err := repository.Open(repository.Config{URL: URL(t), ApplicationName: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// URL is Open for a test that opens the database itself.
func URL(t testing.TB) secret.Value {
	t.Helper()
	return secret.New(pgtest.Database(t, "revalidator_"+schema(t), migrate))
}

// Latin1URL is URL of a database that keeps texts in LATIN1, which Migrate would
// refuse: as it is where one was migrated by other means.
func Latin1URL(t testing.TB) secret.Value {
	t.Helper()
	url := pgtest.Encoded(t, "LATIN1")
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, here, _, _ := runtime.Caller(0)
	files := os.DirFS(filepath.Join(filepath.Dir(here), "../../../repository/migrations"))
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return secret.New(url)
}

func migrate(ctx context.Context, url string) error {
	db, err := repository.Open(repository.Config{URL: secret.New(url)})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.Migrate(ctx)
	return err
}

// schema names the template by the content of the migrations, so that a server
// that outlives the tests never serves an old one.
func schema(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(here), "../../../repository/migrations", "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("find migrations: %v, %v", files, err)
	}
	sum := sha256.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}
