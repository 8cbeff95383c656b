package faults

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// echo is a link to a server that sends back what it gets.
func echo(t *testing.T) *Link {
	t.Helper()
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	l, err := newLink("test", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Cut)
	return l
}

func dial(t *testing.T, l *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send sends so many bytes and returns what comes back of them, and how long
// that took.
func send(t *testing.T, conn net.Conn, size int) (int, time.Duration, error) {
	t.Helper()
	sent, start := bytes.Repeat([]byte("x"), size), time.Now()
	if _, err := conn.Write(sent); err != nil {
		return 0, 0, err
	}
	n, err := io.ReadFull(conn, make([]byte, size))
	return n, time.Since(start), err
}

func passes(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, _, err := send(t, conn, 100_000); err != nil {
		t.Errorf("a link without trouble: %v", err)
	}
}

func TestLinkIsCutAndMended(t *testing.T) {
	t.Parallel()
	l := echo(t)
	conn := dial(t, l)
	passes(t, conn)
	l.Cut()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection when the link is cut: %v", err)
	}
	if _, err := net.Dial("tcp", l.address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("another one while it is cut: %v", err)
	}
	if err := l.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	passes(t, dial(t, l))
}

func TestLinkSlows(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		trouble  Trouble
		size     int
		min, max time.Duration
	}{
		{"delay", delay(200*time.Millisecond, 100*time.Millisecond), 10, 100 * time.Millisecond, 10 * time.Second},
		{"throttle", throttle(20), 10 << 10, 450 * time.Millisecond, 10 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := echo(t)
			conn := dial(t, l)
			passes(t, conn)
			l.Add(test.trouble)
			_, took, err := send(t, conn, test.size)
			if err != nil || took < test.min || took > test.max {
				t.Errorf("an answer took %v (%v), want %v to %v", took, err, test.min, test.max)
			}
			if err := l.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			passes(t, conn)
		})
	}
}

func TestLinkBreaksConnections(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		trouble Trouble
		want    error
		bytes   int
	}{
		{"reset", resetting(), syscall.ECONNRESET, 0},
		{"cut after", cutAfter(2048), io.ErrUnexpectedEOF, 2048},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := echo(t)
			conn := dial(t, l)
			passes(t, conn)
			l.Add(test.trouble)
			for _, conn := range []net.Conn{conn, dial(t, l)} {
				n, _, err := send(t, conn, 4096)
				if !errors.Is(err, test.want) || n != test.bytes {
					t.Errorf("got %d bytes and %v, want %d and %v", n, err, test.bytes, test.want)
				}
			}
			if err := l.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			passes(t, dial(t, l))
		})
	}
}

func TestLinkSwallows(t *testing.T) {
	t.Parallel()
	l := echo(t)
	conn, idle := dial(t, l), dial(t, l)
	passes(t, conn)
	passes(t, idle)
	l.Add(swallow())
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if n, _, err := send(t, conn, 10); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %d bytes and %v, want a timeout", n, err)
	}
	if err := l.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that lost bytes: %v, want its end", err)
	}
	passes(t, idle)
}
