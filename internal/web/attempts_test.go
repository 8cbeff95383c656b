package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
	handler := login("ops", secret.New("the password"), failed, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
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
