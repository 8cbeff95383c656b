package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

func newClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestStart(t *testing.T) {
	t.Parallel()
	var first, second *redis.Client
	t.Run("owner", func(t *testing.T) {
		first = newClient(t, redistest.Start(t))
		second = newClient(t, redistest.Start(t))
		if err := first.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		size, err := second.DBSize(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if size != 0 {
			t.Errorf("keys in another test's Redis: got %d, want 0", size)
		}
	})
	if err := first.Ping(t.Context()).Err(); err == nil {
		t.Error("the Redis outlived its test")
	}
}
