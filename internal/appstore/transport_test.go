package appstore_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

const accepted = `{"status":0,"receipt":{"bundle_id":"com.example.app"}}`

// hijacked takes the connection over after the request has been read.
func hijacked(t *testing.T, do func(*net.TCPConn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		do(conn.(*net.TCPConn))
	}
}

// say writes raw bytes on a connection and closes it.
func say(t *testing.T, text string) http.HandlerFunc {
	return hijacked(t, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, text) })
}

// reset writes raw bytes and resets the connection.
func reset(t *testing.T, text string) http.HandlerFunc {
	return hijacked(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, text)
		_ = conn.SetLinger(0)
	})
}

// silence reads the request and never answers, as long as the client waits.
func silence(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// stall answers the beginning of a reply and then nothing more.
func stall(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, `{"status":`)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func code(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// bomb is a small compressed body that unpacks to 64 MiB of blanks.
func bomb(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	defer z.Close()
	blanks := strings.Repeat(" ", 1<<20)
	for range 64 {
		if _, err := io.WriteString(z, blanks); err != nil {
			return // the client has seen enough
		}
	}
}

func badGzip(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = io.WriteString(w, accepted)
}

func TestVerifyReceiptFaults(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	deep := `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`
	record := `{"transaction_id":"1"},`
	tests := []struct {
		name   string
		server http.HandlerFunc
		want   error
	}{
		{"no answer", silence, appstore.ErrTimeout},
		{"answer stalls", stall, appstore.ErrTimeout},
		{"closed without an answer", say(t, ""), appstore.ErrConnection},
		{"reset", reset(t, ""), appstore.ErrConnection},
		{"reset in the body", reset(t, head+"Content-Length: 1000\r\n\r\n{\"status\":0,"), appstore.ErrConnection},
		{"not HTTP", say(t, "MIIVUAYJKoZIhvcN\r\n\r\n"), appstore.ErrConnection},
		{"cut by length", say(t, head+"Content-Length: 1000\r\n\r\n{\"status\":0,"), appstore.ErrCutReply},
		{"cut within a chunk", say(t, head+"Transfer-Encoding: chunked\r\n\r\n100\r\n{\"status\":0"), appstore.ErrCutReply},
		{"cut in a name", answer(`{"sta`), appstore.ErrCutReply},
		{"cut in a text", answer(`{"latest_receipt":"MII`), appstore.ErrCutReply},
		{"cut in an escape", answer(`{"latest_receipt":"MII\`), appstore.ErrCutReply},
		{"cut in a number", answer(`{"status":2100`), appstore.ErrCutReply},
		{"cut in a list", answer(`{"status":0,"latest_receipt_info":[{"transaction_id":"1"}`), appstore.ErrCutReply},
		{"empty", answer(""), appstore.ErrEmptyReply},
		{"blank", answer(" \r\n\t"), appstore.ErrEmptyReply},
		{"byte order mark alone", answer("\ufeff"), appstore.ErrEmptyReply},
		{"HTML", answer("<html><body>Service Unavailable</body></html>"), appstore.ErrNotJSON},
		{"text", answer("Service Unavailable"), appstore.ErrNotJSON},
		{"a list", answer("[]"), appstore.ErrNotJSON},
		{"null", answer("null"), appstore.ErrNotJSON},
		{"not quite a byte order mark", answer("\xef\xbb{}"), appstore.ErrNotJSON},
		{"no status", answer("{}"), appstore.ErrNoStatus},
		{"status is null", answer(`{"status":null}`), appstore.ErrNoStatus},
		{"status is a word", answer(`{"status":"fine"}`), appstore.ErrNoStatus},
		{"status is a fraction", answer(`{"status":0.5}`), appstore.ErrNoStatus},
		{"status is a list", answer(`{"status":[0]}`), appstore.ErrNoStatus},
		{"no comma", answer(`{"status":0 "receipt":{}}`), appstore.ErrMalformedReply},
		{"comma at the end", answer(`{"status":0,}`), appstore.ErrMalformedReply},
		{"comma at the front", answer(`{,"status":0}`), appstore.ErrMalformedReply},
		{"no colon", answer(`{"status" 0}`), appstore.ErrMalformedReply},
		{"name without quotes", answer(`{status:0}`), appstore.ErrMalformedReply},
		{"no value", answer(`{"status":}`), appstore.ErrMalformedReply},
		{"bad escape", answer(`{"status":"\x30"}`), appstore.ErrMalformedReply},
		{"bad unicode escape", answer(`{"status":"\u00zz"}`), appstore.ErrMalformedReply},
		{"wrong bracket", answer(`{"status":0,"a":[}`), appstore.ErrMalformedReply},
		{"something after it", answer(accepted + "<!-- -->"), appstore.ErrMalformedReply},
		{"bad compression", badGzip, appstore.ErrMalformedReply},
		{"compressed bomb", bomb, appstore.ErrReplyTooLarge},
		{"too many bytes", answer(`{"a":"` + strings.Repeat("A", 2<<20) + `"}`), appstore.ErrReplyTooLarge},
		{"too deep", answer(deep), appstore.ErrReplyTooLarge},
		{"too many records", answer(`{"latest_receipt_info":[` + strings.Repeat(record, 100) + `]}`), appstore.ErrReplyTooLarge},
		{"redirect", code(http.StatusFound, ""), appstore.ErrHTTPStatus},
		{"redirect with the body", code(http.StatusTemporaryRedirect, ""), appstore.ErrHTTPStatus},
		{"no content", code(http.StatusNoContent, ""), appstore.ErrHTTPStatus},
		{"forbidden", code(http.StatusForbidden, accepted), appstore.ErrHTTPStatus},
		{"too large for somebody else", code(http.StatusRequestEntityTooLarge, ""), appstore.ErrSizeRefused},
		{"too many requests", code(http.StatusTooManyRequests, ""), appstore.ErrRateLimited},
		{"server error", code(http.StatusInternalServerError, "oops"), appstore.ErrServer},
		{"unavailable, in JSON", code(http.StatusServiceUnavailable, `{"status":21004}`), appstore.ErrServer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := serve(t, tt.server, nil)
			cfg.MaxReplyBytes, cfg.MaxRecords = 1<<20, 99
			if errors.Is(tt.want, appstore.ErrTimeout) {
				cfg.Timeout = 50 * time.Millisecond
			}
			a, err := newClient(t, cfg).VerifyReceipt(t.Context(), request())
			if !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			if a.Calls != 1 || a.Environment != "" {
				t.Errorf("got %d calls and environment %q, want 1 and none", a.Calls, a.Environment)
			}
			if text := err.Error(); strings.Contains(text, "MII") || strings.Contains(text, "ervice") || strings.Contains(text, "0123") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestVerifyReceiptRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	_, err = newClient(t, appstore.Config{ProductionURL: url}).VerifyReceipt(t.Context(), request())
	if !errors.Is(err, appstore.ErrConnection) {
		t.Errorf("got error %v, want %v", err, appstore.ErrConnection)
	}
}

// TestConnectionCause: whoever looks at a failed connection sees where to look.
func TestConnectionCause(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	trusting := untrusted.Client()
	trusting.Transport.(*http.Transport).TLSClientConfig.ServerName = "apple.example"
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	streams := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	streams.EnableHTTP2 = true
	streams.StartTLS()
	t.Cleanup(streams.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	dials := func(err error) *http.Client {
		return &http.Client{Transport: &http.Transport{
			MaxResponseHeaderBytes: 1 << 20,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
			},
		}}
	}
	for name, test := range map[string]struct {
		url    string
		client *http.Client
		want   string
	}{
		"authority":     {untrusted.URL, nil, "authority that this machine does not trust"},
		"host":          {untrusted.URL, trusting, "certificate of another host"},
		"no TLS":        {"https" + strings.TrimPrefix(plain.URL, "http"), nil, "no TLS"},
		"refused":       {"http://" + closed.Addr().String(), nil, "refused"},
		"HTTP/2":        {streams.URL, streams.Client(), "HTTP/2"},
		"DNS":           {"https://apple.example", dials(&net.DNSError{Err: "no such host", Name: "apple.example", IsNotFound: true}), "DNS does not know"},
		"DNS fails":     {"https://apple.example", dials(&net.DNSError{Err: "server misbehaving", Name: "apple.example"}), "DNS failed"},
		"not reachable": {"https://apple.example", dials(syscall.EHOSTUNREACH), "no route"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, appstore.Config{ProductionURL: test.url, HTTPClient: test.client}).VerifyReceipt(t.Context(), request())
			if !errors.Is(err, appstore.ErrConnection) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %v with %q", err, appstore.ErrConnection, test.want)
			}
		})
	}
}

func TestVerifyReceiptGivenUp(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 2)
	hang := func(handler http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			handler(w, r)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{"before the answer": silence, "within it": stall} {
		c := newClient(t, serve(t, hang(handler), nil))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		_, err := c.VerifyReceipt(ctx, request())
		if !errors.Is(err, context.Canceled) || errors.Is(err, appstore.ErrTimeout) {
			t.Errorf("%s: got error %v, want that of the caller", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := newClient(t, serve(t, silence, nil)).VerifyReceipt(ctx, request())
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, appstore.ErrTimeout) {
		t.Errorf("got error %v, want the caller's deadline", err)
	}
}

func TestVerifyReceiptReusesConnections(t *testing.T) {
	t.Parallel()
	bodies := map[string]http.HandlerFunc{
		"accepted":     answer(accepted + "\n"),
		"not JSON":     answer("<html>" + strings.Repeat("sorry ", 1000)),
		"server error": code(http.StatusBadGateway, strings.Repeat("sorry ", 1000)),
	}
	for name, handler := range bodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotes := make(map[string]bool)
			c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				remotes[r.RemoteAddr] = true
				handler(w, r)
			}, nil))
			for range 5 {
				_, _ = c.VerifyReceipt(t.Context(), request())
			}
			if len(remotes) != 1 {
				t.Errorf("got %d connections, want 1", len(remotes))
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, header string
		want         time.Time
	}{
		{"none", "", time.Time{}},
		{"a word", "soon", time.Time{}},
		{"negative", "-5", time.Time{}},
		{"at once", "0", fixedNow},
		{"seconds", "30", fixedNow.Add(30 * time.Second)},
		{"blanks", " 30 ", fixedNow.Add(30 * time.Second)},
		{"too many seconds", "1000000000", fixedNow.Add(time.Hour)},
		{"UNIX seconds", unix(fixedNow.Add(time.Minute).Unix()), fixedNow.Add(time.Minute)},
		{"UNIX milliseconds", unix(fixedNow.Add(1500 * time.Millisecond).UnixMilli()), fixedNow.Add(1500 * time.Millisecond)},
		{"milliseconds of long ago", "1500000000000", fixedNow},
		{"milliseconds far ahead", "9223372036854775807", fixedNow.Add(time.Hour)},
		{"more than a number", "99999999999999999999", time.Time{}},
		{"date", fixedNow.Add(10 * time.Minute).Format(http.TimeFormat), fixedNow.Add(10 * time.Minute)},
		{"date far ahead", fixedNow.Add(48 * time.Hour).Format(http.TimeFormat), fixedNow.Add(time.Hour)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(http.StatusTooManyRequests)
			}))
			_, err := c.VerifyReceipt(t.Context(), requestTo(iap.Sandbox))
			var status *appstore.HTTPError
			if !errors.As(err, &status) {
				t.Fatalf("got error %v, want an HTTPError", err)
			}
			if status.StatusCode != 429 || !status.RetryAfter.Equal(tt.want) {
				t.Errorf("got %d and %v, want 429 and %v", status.StatusCode, status.RetryAfter, tt.want)
			}
		})
	}
}

// TestUsualRequestLeavesInOnePiece counts the writes to a connection: each is a
// system call, and a packet of its own.
func TestUsualRequestLeavesInOnePiece(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, accepted)
	}))
	t.Cleanup(server.Close)
	transport := appstore.NewTransport()
	var writes atomic.Int64
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return countingConn{conn, &writes}, err
	}
	c, err := appstore.New(appstore.Config{HTTPClient: &http.Client{Transport: transport}, ProductionURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	r := request()
	r.Receipt = receipt(make([]byte, 8<<10))
	if _, err := c.VerifyReceipt(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("the request left in %d pieces", n)
	}
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}
