package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	fine := func(context.Context) error { return nil }
	broken := func(context.Context) error { return errors.New("dial postgres://user:marker@db") }
	stuck := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	deaf := func(context.Context) error { <-t.Context().Done(); return nil }
	for name, test := range map[string]struct {
		checks map[string]Check
		code   int
		body   string
	}{
		"nothing to check":              {nil, http.StatusOK, `{"ready":true,"checks":{}}`},
		"all fine":                      {map[string]Check{"postgres": fine, "redis": fine}, http.StatusOK, `{"ready":true,"checks":{"postgres":"ok","redis":"ok"}}`},
		"one broken":                    {map[string]Check{"postgres": broken, "redis": fine}, http.StatusServiceUnavailable, `{"ready":false,"checks":{"postgres":"failed","redis":"ok"}}`},
		"one stuck":                     {map[string]Check{"postgres": fine, "redis": stuck}, http.StatusServiceUnavailable, `{"ready":false,"checks":{"postgres":"ok","redis":"failed"}}`},
		"one that ignores the deadline": {map[string]Check{"postgres": fine, "redis": deaf}, http.StatusServiceUnavailable, `{"ready":false,"checks":{"postgres":"ok","redis":"failed"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Checks = test.checks
			handler := newServer(t, c).Handler()
			got := ask(t, handler, "GET", "/readyz")
			if got.Code != test.code {
				t.Errorf("got %d, want %d", got.Code, test.code)
			}
			if diff := cmp.Diff(test.body, strings.TrimSpace(got.Body.String())); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if code := ask(t, handler, "GET", "/healthz").Code; code != http.StatusOK {
				t.Errorf("healthz: got %d, want 200 whatever the checks say", code)
			}
		})
	}
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		alive Check
		code  int
		body  string
	}{
		"nothing to ask": {nil, http.StatusOK, "ok\n"},
		"alive":          {func(context.Context) error { return nil }, http.StatusOK, "ok\n"},
		"stuck":          {func(context.Context) error { return errors.New("stuck: save for 1h") }, http.StatusServiceUnavailable, "stuck: save for 1h\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Alive = test.alive
			got := ask(t, newServer(t, c).Handler(), "GET", "/healthz")
			if got.Code != test.code || got.Body.String() != test.body {
				t.Errorf("got %d and %q, want %d and %q", got.Code, got.Body, test.code, test.body)
			}
		})
	}
}

func TestHealthTellsWhenRedisStops(t *testing.T) {
	t.Parallel()
	options, err := redis.ParseURL(redistest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	c := config(t)
	c.Redis = client
	c.Checks = map[string]Check{"redis": func(ctx context.Context) error { return client.Ping(ctx).Err() }}
	handler := newServer(t, c).Handler()
	if got := ask(t, handler, "GET", "/readyz").Code; got != http.StatusOK {
		t.Fatalf("readyz with Redis: got %d, want 200", got)
	}
	options.MaxRetries = -1 // a second attempt would find nobody to stop
	stopper := redis.NewClient(options)
	t.Cleanup(func() { _ = stopper.Close() })
	if err := stopper.ShutdownNoSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if got := ask(t, handler, "GET", "/readyz").Code; got != http.StatusServiceUnavailable {
		t.Errorf("readyz without Redis: got %d, want 503", got)
	}
	if took := time.Since(start); took > checkTimeout+10*time.Second {
		t.Errorf("readyz took %v, want no more than %v", took, checkTimeout)
	}
	if got := ask(t, handler, "GET", "/healthz").Code; got != http.StatusOK {
		t.Errorf("healthz without Redis: got %d, want 200", got)
	}
	if got := ask(t, handler, "GET", "/").Code; got != http.StatusOK {
		t.Errorf("page without Redis: got %d, want 200", got)
	}
}
