package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"revalidator/internal/secret"
)

// TestFailedLoginsWait has somebody guess, who waits longer and longer, also for the
// right password; others do not.
func TestFailedLoginsWait(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	failed := newAttempts(func() time.Time { return now })
	handler := login(Config{User: "ops", Password: secret.New("the password")}, failed, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	try := func(address, password string) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = address + ":4321"
		r.SetBasicAuth("ops", password)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if (w.Code == http.StatusTooManyRequests) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("HTTP %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		return w.Code
	}
	const guesser, other = "10.0.0.1", "10.0.0.2"
	for range freeAttempts {
		if got := try(guesser, "a guess"); got != http.StatusUnauthorized {
			t.Fatalf("one of the first: HTTP %d, want 401", got)
		}
	}
	guesses, started := 0, now
	for now.Sub(started) < time.Hour {
		if try(guesser, "a guess") == http.StatusUnauthorized {
			guesses++
		}
		if try(guesser, "the password") == http.StatusOK {
			t.Fatal("who has to wait was let in")
		}
		if got := try(other, "the password"); got != http.StatusOK {
			t.Fatalf("another address: HTTP %d, want 200", got)
		}
		now = now.Add(time.Second / 2)
	}
	if most := int(time.Hour/longestDelay) + 5; guesses > most {
		t.Errorf("%d guesses in an hour, want %d at most", guesses, most)
	}
	now = now.Add(longestDelay)
	if got := try(guesser, "the password"); got != http.StatusOK {
		t.Errorf("after the wait: HTTP %d, want 200", got)
	}
	if got := try(guesser, "a guess"); got != http.StatusUnauthorized {
		t.Errorf("after a log-in all is forgotten: HTTP %d, want 401", got)
	}
}

// TestFailedLoginsAreBounded comes from more addresses than are remembered.
func TestFailedLoginsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	failed := newAttempts(func() time.Time { return now })
	for i := range 2 * mostAddresses {
		failed.note(fmt.Sprint("address ", i))
	}
	if got := len(failed.failed); got > mostAddresses+1 {
		t.Errorf("%d addresses, want %d at most", got, mostAddresses+1)
	}
	if failed.wait("yet another") == 0 {
		t.Error("yet another address need not wait")
	}
	now = now.Add(attemptsForget + time.Second)
	failed.note("one")
	if got := len(failed.failed); got != 1 {
		t.Errorf("%d addresses after a while, want one", got)
	}
}

// TestAsker has proxies say who asks, and others pretend to be one.
func TestAsker(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for name, test := range map[string]struct {
		remote, forwarded, want string
	}{
		"no proxy":                   {"192.0.2.1:4321", "", "192.0.2.1"},
		"a pretended proxy":          {"192.0.2.1:4321", "198.51.100.7", "192.0.2.1"},
		"a proxy":                    {"10.0.0.1:4321", "198.51.100.7", "198.51.100.7"},
		"a proxy by version 6":       {"[::1]:4321", "2001:db8::7", "2001:db8::7"},
		"a proxy by a mapped one":    {"[::ffff:10.0.0.1]:4321", "198.51.100.7", "198.51.100.7"},
		"two proxies":                {"10.0.0.1:4321", "198.51.100.7, 10.0.0.2", "198.51.100.7"},
		"what the asker made up":     {"10.0.0.1:4321", "203.0.113.9, 198.51.100.7", "198.51.100.7"},
		"a proxy that does not say":  {"10.0.0.1:4321", "", "10.0.0.1"},
		"a proxy that says nonsense": {"10.0.0.1:4321", "unknown", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = test.remote
			if test.forwarded != "" {
				r.Header.Set("X-Forwarded-For", test.forwarded)
			}
			if got := asker(r, proxies); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
