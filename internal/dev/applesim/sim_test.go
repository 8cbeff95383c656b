package applesim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const (
	reader  = "com.example.reader"  // has a grace period
	fitness = "com.example.fitness" // has none
)

// start is the first moment of every simulator here.
var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func fixedNow() time.Time { return time.Date(2026, 11, 2, 3, 4, 5, 0, time.UTC) }

// sharedAuthority saves the tests from generating keys over and over.
var sharedAuthority = sync.OnceValues(func() (*authority, error) { return newAuthority(0) })

// newSim is a simulator with a frozen clock. Those without a seed share their
// keys.
func newSim(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Start.IsZero() {
		cfg.Start = start
	}
	if cfg.Now == nil {
		cfg.Now = fixedNow
	}
	if cfg.Seed != 0 {
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	authority, err := sharedAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg.withDefaults(), authority)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask is a request to verifyReceipt as a client writes it.
type ask struct {
	Receipt    string `json:"receipt-data"`
	Password   string `json:"password,omitempty"`
	ExcludeOld bool   `json:"exclude-old-transactions,omitempty"`
}

// askFor is the request for a customer's receipt with the right secret.
func askFor(t testing.TB, s *Server, customer int) ask {
	t.Helper()
	r, err := s.Receipt(customer)
	if err != nil {
		t.Fatal(err)
	}
	return ask{Receipt: base64.StdEncoding.EncodeToString(r.Data), Password: s.Secrets(r.BundleID)[0]}
}

// send sends the request to the environment and returns the answer.
func send(t testing.TB, s *Server, environment string, a ask) *httptest.ResponseRecorder {
	t.Helper()
	body, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return post(s, "/"+environment+"/verifyReceipt", body)
}

func post(s *Server, path string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
	return w
}

// statusOf is the receipt status code of an answer.
func statusOf(t testing.TB, w *httptest.ResponseRecorder) int {
	t.Helper()
	var told struct{ Status *int }
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || told.Status == nil {
		t.Fatalf("answer %d %.80q: no status: %v", w.Code, w.Body, err)
	}
	return *told.Status
}

// entries is the log so far.
func entries(s *Server) []Entry {
	var all []Entry
	for e := range s.Log(0) {
		all = append(all, e)
	}
	return all
}
