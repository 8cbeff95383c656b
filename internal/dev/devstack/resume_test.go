package devstack

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestPostgresComesBackWithItsData(t *testing.T) {
	t.Parallel()
	postgres, err := StartPostgres(t.Context(), Config{Durable: true})
	needs(t, err)
	defer func() { _ = postgres.Stop() }()
	db, err := sql.Open("postgres", postgres.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE kept AS SELECT 7 AS n`); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("it answers after the halt")
	}
	if err := postgres.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	eventually(t, "the row is not there", func() bool {
		return db.QueryRowContext(t.Context(), `SELECT n FROM kept`).Scan(&n) == nil && n == 7
	})
}

func TestRedisComesBackEmpty(t *testing.T) {
	t.Parallel()
	_, err := findRedis(Config{})
	needs(t, err)
	server, err := StartRedis(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	client := newClient(t, server.URL)
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it does not answer, or still has the key", func() bool {
		return errors.Is(client.Get(t.Context(), "key").Err(), redis.Nil)
	})
}
