package jobs_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack"
	"revalidator/internal/dev/devstack/tlstest"
	"revalidator/jobs"
)

// server starts a Redis with more settings, and returns its URL.
func server(t *testing.T, settings ...string) string {
	t.Helper()
	s, err := devstack.StartRedis(t.Context(), devstack.Config{RedisSettings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	if s.Simulated {
		if os.Getenv("CI") != "" {
			t.Fatal("CI tests against a real Redis: run `apt-get install redis-server`")
		}
		t.Skip("the stand-in has no users and no TLS")
	}
	return s.URL
}

func client(t *testing.T, at string) redis.UniversalClient {
	t.Helper()
	options, err := redis.ParseURL(at)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func changed(t *testing.T, text string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

func as(t *testing.T, at, user, password string) string {
	return changed(t, at, func(u *url.URL) { u.User = url.UserPassword(user, password) })
}

// TestReachSaysTheCause meets real servers that refuse in each way.
func TestReachSaysTheCause(t *testing.T) {
	t.Parallel()
	tlsPort := freePort(t)
	folder := tlstest.SelfSigned(t, nil).Folder
	at := server(t,
		"user keys on >hunter2 ~asynq:* &* +@all",
		"user commands on >hunter2 ~* &* +@all -eval",
		"user channels on >hunter2 ~* resetchannels +@all",
		"user enough on >hunter2 ~asynq:* ~revalidator:* &asynq:* +@all -@admin -@dangerous +info",
		"tls-port "+tlsPort, "tls-cert-file "+filepath.Join(folder, "cert"), "tls-key-file "+filepath.Join(folder, "key"),
		"tls-auth-clients no")
	atTLS := func(scheme string) string {
		return changed(t, at, func(u *url.URL) { u.Scheme, u.Host = scheme, "127.0.0.1:"+tlsPort })
	}
	for name, test := range map[string]struct{ url, want string }{
		"no password":        {changed(t, at, func(u *url.URL) { u.User = nil }), "NOAUTH"},
		"no password, fix":   {changed(t, at, func(u *url.URL) { u.User = nil }), "it wants a password"},
		"wrong password":     {as(t, at, "default", "hunter3"), "correct the user and the password"},
		"keys of a prefix":   {as(t, at, "keys", "hunter2"), "revalidator:*"},
		"commands":           {as(t, at, "commands", "hunter2"), "ACL SETUSER"},
		"channels":           {as(t, at, "channels", "hunter2"), "&asynq:*"},
		"self-signed":        {atTLS("rediss"), "skip_verify=true"},
		"plain to TLS":       {atTLS("redis"), "rediss://"},
		"no such database":   {changed(t, at, func(u *url.URL) { u.Path = "/99" }), "no such database"},
		"enough":             {as(t, at, "enough", "hunter2"), ""},
		"all, by TLS":        {atTLS("rediss") + "?skip_verify=true", ""},
		"everything allowed": {at, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := jobs.Reach(t.Context(), client(t, test.url))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q in it", err, test.want)
			case err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hunter3")):
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestReachThroughASentinel has a Sentinel and a server, each with a password.
func TestReachThroughASentinel(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(server(t))
	if err != nil {
		t.Fatal(err)
	}
	serverPassword, _ := at.User.Password()
	sentinel := startSentinel(t, at.Port(), serverPassword, "sentinels")
	for name, test := range map[string]struct{ sentinel, server, want string }{
		"both":                     {"sentinels", serverPassword, ""},
		"none for the Sentinel":    {"", serverPassword, "which behind a Sentinel is the Sentinel's own"},
		"none for the server":      {"sentinels", "", "?username=USER&password=PASSWORD"},
		"the wrong for the server": {"sentinels", "hunter2", "?username=&password= for the servers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := redis.ParseFailoverURL(fmt.Sprintf("redis://:%s@%s?master_name=m&password=%s&max_retries=-1", test.sentinel, sentinel, test.server))
			if err != nil {
				t.Fatal(err)
			}
			c := redis.NewFailoverClient(o)
			t.Cleanup(func() { _ = c.Close() })
			err = jobs.Reach(t.Context(), c)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

// startSentinel starts a Sentinel with a password for a server with another, and
// returns its address.
func startSentinel(t *testing.T, port, serverPassword, password string) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	own := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf("bind 127.0.0.1\nport %s\nrequirepass %s\nsentinel monitor m 127.0.0.1 %s 1\nsentinel auth-pass m %s\n",
		own, password, port, serverPassword)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, file, "--sentinel")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	at := "127.0.0.1:" + own
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if conn, err := net.Dial("tcp", at); err == nil {
			_ = conn.Close()
			return at
		}
		<-tick.C
	}
	t.Fatal("the Sentinel does not start")
	return ""
}

// TestReachWithoutServer leaves an error as it is that nothing is known of.
func TestReachWithoutServer(t *testing.T) {
	t.Parallel()
	err := jobs.Reach(t.Context(), client(t, "redis://127.0.0.1:1"))
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" || strings.Contains(err.Error(), ": something") {
		t.Errorf("got %v, want that nobody listens and no advice", err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}
