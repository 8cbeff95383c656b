package report

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   int
		ok     bool
	}{
		{"a code", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":21002}`) }, 21002, true},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, 0, false},
		{"other JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"error":1}`) }, 0, false},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, 0, false},
		{"503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, 0, false},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, 0, false},
		{"a page without end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), 1<<20))
			_, _ = io.WriteString(w, `{"status":0}`)
		}, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if body, err := io.ReadAll(r.Body); r.Method != http.MethodPost || len(body) > 0 || err != nil {
					t.Errorf("got %s with %d bytes, want an empty POST", r.Method, len(body))
				}
				test.answer(w, r)
			}))
			t.Cleanup(server.Close)
			code, err := probe(context.Background(), server.URL)
			if code != test.want || (err == nil) != test.ok {
				t.Errorf("got %d and %v", code, err)
			}
		})
	}
}
