package repository

import (
	"testing"

	"revalidator/internal/secret"
)

// TestMaxConnsIsForAllPools: what a person sets is what Postgres has to bear.
func TestMaxConnsIsForAllPools(t *testing.T) {
	t.Parallel()
	for set, want := range map[int]int{0: 24, 1: 2, 2: 2, 7: 7, 100: 100} {
		db, err := Open(Config{URL: secret.New("postgres://somebody@localhost/nothing"), MaxConns: set})
		if err != nil {
			t.Fatal(err)
		}
		got := db.db.Stats().MaxOpenConnections + db.bytes.Stats().MaxOpenConnections
		if got != want {
			t.Errorf("set to %d: %d connections, want %d", set, got, want)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
