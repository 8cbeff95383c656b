package main

import (
	"net/http"
	"strings"
	"testing"

	"revalidator/internal/terminal"
)

// asUser asks for a page with a user and a password, and returns the status.
func asUser(t *testing.T, method, url, user, password string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	return reply.StatusCode
}

// TestUIForOthers listens beyond this machine, which takes a user and a
// password.
func TestUIForOthers(t *testing.T) {
	t.Parallel()
	const password = "marker-of-a-password"
	s := newSession(t)
	o := s.run(t, "ui", "--addr", "0.0.0.0:0")
	if o.code != terminal.ExitUsage || !strings.Contains(o.stderr, "set REVALIDATOR_UI_USER and REVALIDATOR_UI_PASSWORD") {
		t.Errorf("without a password: got exit code %d and %q, want %d and what to set", o.code, o.stderr, terminal.ExitUsage)
	}
	s.set("REVALIDATOR_UI_USER", "ops")
	s.set("REVALIDATOR_UI_PASSWORD_FILE", writeFile(t, "password", password+"\n"))
	ui := s.start(t, nil, "ui", "--addr", "0.0.0.0:0")
	port := ui.stderr.waitFor(t, `serving http://\S+:(\d+)/`)[1]
	url := "http://127.0.0.1:" + port
	for path, want := range map[string]int{"/": 401, "/api/queues": 401, "/metrics": 401, "/healthz": 200, "/readyz": 200} {
		if got := asUser(t, "GET", url+path, "ops", "wrong"); got != want {
			t.Errorf("%s with a wrong password: got %d, want %d", path, got, want)
		}
		if got := asUser(t, "GET", url+path, "ops", password); got != http.StatusOK {
			t.Errorf("%s with the password: got %d, want 200", path, got)
		}
	}
	if strings.Contains(ui.stderr.text(), password) {
		t.Error("the password was printed")
	}
}

// TestUIReadWrite pauses a queue where that is asked for, by the flag or by the
// setting, and not otherwise.
func TestUIReadWrite(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		setting string
		args    []string
		want    int
	}{
		"not asked for":  {"", nil, http.StatusMethodNotAllowed},
		"by the flag":    {"", []string{"--read-write"}, http.StatusNoContent},
		"by the setting": {"true", nil, http.StatusNoContent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.set("REVALIDATOR_UI_READ_WRITE", test.setting)
			ui := s.start(t, nil, append([]string{"ui", "--addr", "127.0.0.1:0"}, test.args...)...)
			url := ui.stderr.waitFor(t, `serving (http://127\.0\.0\.1:\d+)/`)[1]
			if got := asUser(t, "POST", url+"/api/queues/receipts:pause", "", ""); got != test.want {
				t.Errorf("pause a queue: got %d, want %d", got, test.want)
			}
		})
	}
}

func TestDescribeTask(t *testing.T) {
	t.Parallel()
	const payload = `{"receipt":12,"generation":4,"run":3,"app":"com.example.reader"}`
	for name, test := range map[string]struct{ taskType, payload, want string }{
		"ours":            {"receipt:verify", payload, "receipt 12 of com.example.reader, run 3, generation 4"},
		"another type":    {"email:send", payload, ""},
		"another payload": {"receipt:verify", "what is this", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := describeTask(test.taskType, []byte(test.payload)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
