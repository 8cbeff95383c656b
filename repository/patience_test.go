package repository_test

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// hanging is a way to a Postgres that lets nothing of its answers through once
// it is told to.
func hanging(t *testing.T, target secret.Value) (secret.Value, func()) {
	t.Helper()
	address, err := url.Parse(target.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	behind := address.Host
	var hangs atomic.Bool
	pass := func(to, from net.Conn, answers bool) {
		defer func() { _, _ = to.Close(), from.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if answers && hangs.Load() {
				_, _ = io.Copy(io.Discard, from)
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", behind)
			if err != nil {
				_ = client.Close()
				continue
			}
			t.Cleanup(func() { _, _ = client.Close(), server.Close() })
			go pass(server, client, false)
			go pass(client, server, true)
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	address.Host = listener.Addr().String()
	return secret.New(address.String()), func() { hangs.Store(true) }
}

// TestPostgresThatHangs stands still in the middle of things. The calls have no
// deadline of their own.
func TestPostgresThatHangs(t *testing.T) {
	t.Parallel()
	address, hang := hanging(t, repositorytest.URL(t))
	const patience = 2 * time.Second
	db, err := repository.Open(repository.Config{URL: address, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	hang()
	ended := make(chan error, 1)
	go func() {
		_, err := db.ClaimedCount(t.Context())
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("got %v, want a timeout", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a statement waits for ever for a Postgres that hangs")
	}
}
