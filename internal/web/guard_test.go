package web

import (
	"net/http"
	"strings"
	"testing"

	"revalidator/internal/secret"
)

// ofQueue are the pages about the queue, and what goes with them.
func ofQueue() []string {
	return []string{"/", "/queues/receipts", "/api/none", "/static/none", "/metrics"}
}

// TestHosts is what a site meets that gives its own name our address.
func TestHosts(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Addr, c.Redis, c.Hosts = "127.0.0.5:8080", unusedRedis(t), []string{"ops.example.com"}
	handler := newServer(t, c).Handler()
	for host, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.0.0.1": true, "127.0.0.5:8080": true, "localhost:9999": true, "LOCALHOST": true,
		"[::1]:8080": true, "[::1]": true, "ops.example.com": true, "Ops.Example.Com:443": true,
		"evil.example": false, "evil.example:8080": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false,
		"ops.example.com.evil.example": false, "10.0.0.1:8080": false, "0.0.0.0:8080": false, "": false, ":8080": false,
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			for _, path := range ofQueue() {
				got := ask(t, handler, "GET", path, "Host", host)
				if refused := got.Code == http.StatusMisdirectedRequest; refused == want {
					t.Errorf("%s: got %d, want known to be %v", path, got.Code, want)
				}
			}
			if got := ask(t, handler, "GET", "/healthz", "Host", host).Code; got != http.StatusOK {
				t.Errorf("/healthz: got %d, want 200 whatever the name", got)
			}
		})
	}
}

// TestHostsOfAnExposedAddress leaves names alone where the password protects.
func TestHostsOfAnExposedAddress(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Addr, c.Redis = ":8080", unusedRedis(t)
	c.User, c.Password = "ops", secret.New("made up long")
	got := ask(t, newServer(t, c).Handler(), "GET", "/metrics", "Host", "ops.example.com", "Authorization", "Basic b3BzOm1hZGUgdXAgbG9uZw==")
	if got.Code != http.StatusOK {
		t.Errorf("got %d, want 200", got.Code)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	const password = "pass:word with ü"
	c := config(t)
	c.Addr, c.Redis = "0.0.0.0:8080", unusedRedis(t)
	c.User, c.Password = "ops", secret.New(password)
	for name, test := range map[string]struct {
		user, password string
		want           bool
	}{
		"right":            {"ops", password, true},
		"no password":      {"ops", "", false},
		"wrong password":   {"ops", "pass:word", false},
		"longer password":  {"ops", password + "x", false},
		"other user":       {"dev", password, false},
		"case of the user": {"OPS", password, false},
		"nothing":          {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := newServer(t, c).Handler() // which counts the failed log-ins
			r, _ := http.NewRequest("GET", "/", nil)
			r.SetBasicAuth(test.user, test.password)
			for _, path := range ofQueue() {
				got := ask(t, handler, "GET", path, "Authorization", r.Header.Get("Authorization"))
				refused := got.Code == http.StatusUnauthorized
				if refused == test.want || refused != (got.Header().Get("WWW-Authenticate") != "") {
					t.Errorf("%s: got %d, want to be let in: %v", path, got.Code, test.want)
				}
				if strings.Contains(got.Body.String(), password) {
					t.Errorf("%s shows the password", path)
				}
			}
		})
	}
}

// TestLoginIsAskedFor sends no user at all.
func TestLoginIsAskedFor(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Redis, c.User, c.Password = unusedRedis(t), "ops", secret.New("made up long")
	handler := newServer(t, c).Handler()
	for path, want := range map[string]int{"/": 401, "/metrics": 401, "/api/queues": 401, "/healthz": 200, "/readyz": 200} {
		if got := ask(t, handler, "GET", path).Code; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

// TestReadWrite pauses a queue from the pages, and not from another site.
func TestReadWrite(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Redis, c.ReadWrite = busyQueue(t), true
	handler := newServer(t, c).Handler()
	const resume = "/api/queues/receipts:resume"
	for name, headers := range map[string][]string{
		"another site":              {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another site, old browser": {"Origin", "https://evil.example"},
		"another port":              {"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:9999"},
		"another name for us":       {"Host", "evil.example", "Sec-Fetch-Site", "same-origin", "Origin", "http://evil.example"},
	} {
		if got := ask(t, handler, "POST", resume, headers...).Code; got != http.StatusForbidden && got != http.StatusMisdirectedRequest {
			t.Errorf("%s: got %d, want to be refused", name, got)
		}
	}
	if got := ask(t, handler, "GET", "/api/queues/receipts").Body.String(); !strings.Contains(got, `"paused":true`) {
		t.Fatalf("the queue is not paused any more: %s", got)
	}
	if got := ask(t, handler, "POST", resume, "Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8080").Code; got != http.StatusNoContent {
		t.Errorf("from our page: got %d, want 204", got)
	}
	if got := ask(t, handler, "GET", "/api/queues/receipts").Body.String(); !strings.Contains(got, `"paused":false`) {
		t.Errorf("the queue is still paused: %s", got)
	}
	if got := ask(t, handler, "GET", "/").Body.String(); !strings.Contains(got, `FLAG_READ_ONLY="false"`) {
		t.Error("the page offers no buttons")
	}
}
