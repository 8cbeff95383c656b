package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/secret"
)

func config(t *testing.T) Config {
	t.Helper()
	return Config{
		Addr:     "127.0.0.1:0",
		Gatherer: prometheus.NewRegistry(),
		Logger:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// unusedRedis is for tests in which nothing is asked of it.
func unusedRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newServer(t *testing.T, c Config) *Server {
	t.Helper()
	server, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// ask sends one request to a handler, with headers given as name and value; it
// asks for 127.0.0.1 unless Host is among them.
func ask(t *testing.T, h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Host = "127.0.0.1:8080"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Config)
		want   error // nil is any
	}{
		"no logger":           {func(c *Config) { c.Logger = nil }, nil},
		"no metrics":          {func(c *Config) { c.Gatherer = nil }, nil},
		"no port":             {func(c *Config) { c.Addr = "127.0.0.1" }, nil},
		"every address":       {func(c *Config) { c.Addr = ":8080" }, ErrExposed},
		"every IPv4 address":  {func(c *Config) { c.Addr = "0.0.0.0:8080" }, ErrExposed},
		"every IPv6 address":  {func(c *Config) { c.Addr = "[::]:8080" }, ErrExposed},
		"private address":     {func(c *Config) { c.Addr = "10.0.0.1:8080" }, ErrExposed},
		"name":                {func(c *Config) { c.Addr = "localhost.example.com:8080" }, ErrExposed},
		"relative path":       {func(c *Config) { c.Path = "queue" }, nil},
		"path with a pattern": {func(c *Config) { c.Path = "/{x}" }, nil},
		"path with a script":  {func(c *Config) { c.Path = `/"><script>` }, nil},
		"path that climbs":    {func(c *Config) { c.Path = "/a/../b" }, nil},
		"path of two slashes": {func(c *Config) { c.Path = "//evil.example" }, nil},
		"a short password":    {func(c *Config) { c.Addr, c.User, c.Password = ":8080", "ops", secret.New("11 letters.") }, ErrWeakPassword},
		"no password":         {func(c *Config) { c.User = "ops" }, nil},
		"no user":             {func(c *Config) { c.Addr, c.Password = ":8080", secret.New("made up") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Redis = unusedRedis(t)
			test.change(&c)
			_, err := New(c)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestNewAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"IPv4 loopback": func(c *Config) { c.Addr = "127.1.2.3:80" },
		"IPv6 loopback": func(c *Config) { c.Addr = "[::1]:80" },
		"localhost":     func(c *Config) { c.Addr = "localhost:80" },
		"a deep path":   func(c *Config) { c.Path = "/ops/revalidator-1/" },
		"exposed, with a password": func(c *Config) {
			c.Addr, c.User, c.Password = ":8080", "ops", secret.New("made up long")
		},
		"a short password for this machine": func(c *Config) { c.User, c.Password = "ops", secret.New("short") },
		"only health, exposed":              func(c *Config) { c.Addr, c.Redis = ":9090", nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Redis = unusedRedis(t)
			change(&c)
			if _, err := New(c); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Redis = unusedRedis(t)
	handler := newServer(t, c).Handler()
	foreign := []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}
	for name, test := range map[string]struct {
		method, path string
		headers      []string
		want         int
	}{
		"pause a queue":            {"POST", "/api/queues/small:pause", nil, http.StatusMethodNotAllowed},
		"pause from another site":  {"POST", "/api/queues/small:pause", foreign, http.StatusForbidden},
		"delete a queue":           {"DELETE", "/api/queues/small", nil, http.StatusMethodNotAllowed},
		"post to a page":           {"POST", "/", nil, http.StatusMethodNotAllowed},
		"post to health":           {"POST", "/healthz", nil, http.StatusMethodNotAllowed},
		"another method":           {"PROPFIND", "/", nil, http.StatusMethodNotAllowed},
		"head of health":           {"HEAD", "/healthz", nil, http.StatusOK},
		"a link from another site": {"GET", "/", foreign, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := ask(t, handler, test.method, test.path, test.headers...).Code; got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Redis = unusedRedis(t)
	handler := newServer(t, c).Handler()
	for _, path := range []string{"/", "/healthz", "/metrics", "/api/none"} {
		header := ask(t, handler, "GET", path).Result().Header
		for name, want := range map[string]string{
			"Cache-Control":           "no-store",
			"X-Content-Type-Options":  "nosniff",
			"X-Frame-Options":         "DENY",
			"Referrer-Policy":         "no-referrer",
			"Content-Security-Policy": contentPolicy,
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s of %s: got %q, want %q", name, path, got, want)
			}
		}
	}
}

func TestWithoutRedisThereAreNoPages(t *testing.T) {
	t.Parallel()
	handler := newServer(t, config(t)).Handler()
	for path, want := range map[string]int{"/": 404, "/api/queues": 404, "/healthz": 200, "/readyz": 200, "/metrics": 200} {
		if got := ask(t, handler, "GET", path).Code; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := config(t)
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "receipts_total", Help: "Receipts."})
	registry.MustRegister(counter)
	counter.Add(42)
	c.Gatherer = registry
	body := ask(t, newServer(t, c).Handler(), "GET", "/metrics").Body.String()
	if !strings.Contains(body, "\nreceipts_total 42\n") {
		t.Errorf("metric is missing in %s", body)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, finish := make(chan struct{}), make(chan struct{})
	c := config(t)
	c.Checks = map[string]Check{"slow": func(context.Context) error {
		close(asked)
		<-finish
		return nil
	}}
	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	served, answered := make(chan error, 1), make(chan string, 1)
	server := newServer(t, c)
	go func() { served <- server.Serve(ctx, listener) }()
	go func() { answered <- get(t, "http://"+listener.Addr().String()+"/readyz") }()

	<-asked // the request is open when the end comes
	cancel()
	close(finish)
	if got := <-answered; !strings.Contains(got, `"ready":true`) {
		t.Errorf("open request was answered %q", got)
	}
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Serve did not return")
	}
}

func get(t *testing.T, url string) string {
	response, err := http.Get(url)
	if err != nil {
		t.Errorf("get: %v", err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("get: %v", err)
	}
	return string(body)
}

func TestRunReportsATakenAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	c := config(t)
	c.Addr = taken.Addr().String()
	if err := newServer(t, c).Run(t.Context()); err == nil {
		t.Error("got no error")
	}
}
