package appstore

import "net/http"

const (
	// keptConnections is as many as a worker checks receipts at a time.
	keptConnections = 512
	// maxHeaderBytes bounds the headers of a reply, which net/http holds whole:
	// some 2 KB of Apple's. Its own limit of 10 MB is for each of hundreds of
	// connections at a time.
	maxHeaderBytes = 16 << 10
)

// bounded is the client for requests: without redirects, and with a limit for
// the headers of replies.
func bounded(given *http.Client) *http.Client {
	if given == nil {
		given = new(http.Client)
	}
	own := *given
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	switch t := own.Transport.(type) {
	case nil:
		own.Transport = newTransport()
	case *http.Transport:
		if t.MaxResponseHeaderBytes == 0 {
			t = t.Clone()
			t.MaxResponseHeaderBytes = maxHeaderBytes
			own.Transport = t
		}
	}
	return &own
}

// newTransport keeps the connections of a burst, instead of the two of Go's
// default transport that would have the next burst connect again, and sends a
// request with a usual receipt in one piece.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, keptConnections
	t.WriteBufferSize = 16 << 10
	t.MaxResponseHeaderBytes = maxHeaderBytes
	return t
}
