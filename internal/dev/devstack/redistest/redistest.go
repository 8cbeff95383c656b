// Package redistest gives each test a Redis of its own. What runs on it is
// left to the caller. It is imported by tests only.
package redistest

import (
	"log/slog"
	"os"
	"testing"

	"revalidator/internal/dev/devstack"
)

// Start returns the URL of an empty Redis for this test alone, which is
// stopped when the test ends. On a machine without a server it is a stand-in;
// in CI, which is wherever the variable CI is set, the test fails there.
func Start(t testing.TB) string {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	redis, err := devstack.StartRedis(t.Context(), devstack.Config{Logger: logger})
	if err != nil {
		t.Fatalf("start a Redis for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := redis.Stop(); err != nil {
			t.Errorf("stop the Redis of the test: %v", err)
		}
	})
	if redis.Simulated && os.Getenv("CI") != "" {
		t.Fatal("CI tests against a real Redis: run `apt-get install redis-server`")
	}
	return redis.URL
}
