package appstore_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/secret"
)

// receipt is a receipt in memory.
type receipt []byte

func (r receipt) Size() int64 { return int64(len(r)) }

func (r receipt) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r)), nil
}

var fixedNow = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

func fixedClock() time.Time { return fixedNow }

// serve starts a server for each environment and returns a configuration that
// points at them. A nil handler fails the test when it is asked.
func serve(t *testing.T, production, sandbox http.HandlerFunc) appstore.Config {
	t.Helper()
	url := func(name string, h http.HandlerFunc) string {
		if h == nil {
			h = func(http.ResponseWriter, *http.Request) { t.Errorf("%s was asked", name) }
		}
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	return appstore.Config{
		ProductionURL: url("production", production),
		SandboxURL:    url("sandbox", sandbox),
		Now:           fixedClock,
	}
}

func newClient(t *testing.T, cfg appstore.Config) *appstore.Client {
	t.Helper()
	c, err := appstore.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

// answer is a handler that reads the request and answers with one body.
func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

func request() appstore.Request {
	return appstore.Request{
		BundleID: "com.example.app",
		Receipt:  receipt("not a receipt, and nobody looks"),
		Password: secret.New("0123456789abcdef0123456789abcdef"),
	}
}

func requestTo(e iap.Environment) appstore.Request {
	r := request()
	r.Environment = e
	return r
}

func unix(n int64) string { return strconv.FormatInt(n, 10) }
