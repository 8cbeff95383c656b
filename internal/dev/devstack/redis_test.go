package devstack

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

func TestStartRedis(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		folders   []string
		simulated bool
	}{
		{"server", nil, false},
		{"stand-in", []string{t.TempDir()}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if !test.simulated {
				_, err := findRedis(Config{})
				needs(t, err)
			}
			server, err := StartRedis(t.Context(), Config{Folders: test.folders})
			if err != nil {
				t.Fatal(err)
			}
			if server.Simulated != test.simulated {
				t.Errorf("simulated: got %v, want %v", server.Simulated, test.simulated)
			}
			client := newClient(t, server.URL)
			if err := client.Set(t.Context(), "key", "value", 20*time.Millisecond).Err(); err != nil {
				t.Errorf("set: %v", err)
			}
			eventually(t, "a key with a time to live is still there", func() bool {
				return errors.Is(client.Get(t.Context(), "key").Err(), redis.Nil)
			})
			enqueue(t, server.URL)
			if err := server.Stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			if err := client.Ping(t.Context()).Err(); err == nil {
				t.Error("it answers after the stop")
			}
		})
	}
}

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

// enqueue checks that asynq reads the URL too, which it parses itself.
func enqueue(t *testing.T, url string) {
	t.Helper()
	options, err := asynq.ParseRedisURI(url)
	if err != nil {
		t.Fatal(err)
	}
	client := asynq.NewClient(options)
	defer client.Close()
	if _, err := client.EnqueueContext(t.Context(), asynq.NewTask("test", nil)); err != nil {
		t.Errorf("enqueue: %v", err)
	}
}

func TestRedisSettings(t *testing.T) {
	t.Parallel()
	_, err := findRedis(Config{})
	needs(t, err)
	server, err := StartRedis(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	got, err := newClient(t, server.URL).ConfigGet(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"maxmemory-policy": "noeviction", "save": "", "bind": "127.0.0.1", "appendonly": "no"}
	for name, value := range want {
		if diff := cmp.Diff(value, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRedisOnTakenPort(t *testing.T) {
	t.Parallel()
	program, err := findRedis(Config{})
	needs(t, err)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	who, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	store := store{program: program, who: who, password: "password"}
	if _, err := store.serve(t.Context(), taken.Addr().(*net.TCPAddr).Port); !errors.Is(err, errExited) {
		t.Errorf("got %v, want %v", err, errExited)
	}
}
