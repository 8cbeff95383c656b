package appstore

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"syscall"
	"time"

	"revalidator/internal/iap"
)

const (
	// slowest is the pace, in bytes of the request per second, at which a
	// large request and its reply, about five times as long, must get through.
	slowest = 32 << 10
	// maxDrain is how much of a refused body is read to keep its connection.
	maxDrain = 64 << 10
)

// post makes one HTTP request and reads its reply.
func (c *Client) post(ctx context.Context, e iap.Environment, body requestBody, grow growFunc, calls *int) (Reply, error) {
	timeout := c.timeout + time.Duration(body.size()/slowest)*time.Second
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := newHTTPRequest(limited, c.urls[e], body)
	if err != nil {
		return Reply{}, fault(ctx, err)
	}
	*calls++
	response, err := c.http.Do(request)
	if err != nil {
		return Reply{}, fault(ctx, err)
	}
	defer response.Body.Close()
	defer func() { _, _ = io.CopyN(io.Discard, response.Body, maxDrain) }()
	if response.StatusCode != http.StatusOK {
		return Reply{}, &HTTPError{
			StatusCode: response.StatusCode, RetryAfter: retryAfter(response.Header.Get("Retry-After"), c.now()),
			NearLimit: c.nearLimit(body.size()),
		}
	}
	return c.read(ctx, response, grow.within(limited))
}

// wholeBytes is up to which size a body is put together before it is sent. What
// net/http knows to be in memory leaves in one piece with the headers; anything
// else costs a system call and a buffer for each of its parts.
const wholeBytes = 24 << 10

func newHTTPRequest(ctx context.Context, url string, body requestBody) (*http.Request, error) {
	stream, err := body.open(ctx)
	if err != nil {
		return nil, err
	}
	size := body.size()
	var content io.Reader = stream
	if size <= wholeBytes {
		if content, err = whole(stream, size); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, content)
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	request.Header.Set("Content-Type", "application/json")
	request.ContentLength = size
	request.GetBody = func() (io.ReadCloser, error) { return body.open(ctx) }
	return request, nil
}

// whole reads a stream that ends after size bytes, and closes it.
func whole(stream io.ReadCloser, size int64) (*bytes.Reader, error) {
	all := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err := all.ReadFrom(stream)
	if err := errors.Join(err, stream.Close()); err != nil {
		return nil, err
	}
	return bytes.NewReader(all.Bytes()), nil
}

// read decodes the body of an HTTP 200. The transport may have asked for gzip
// and unpacks it as it is read, so that the limits hold for what comes out.
func (c *Client) read(ctx context.Context, response *http.Response, grow func(int64) error) (Reply, error) {
	reply, err := decodeReply(response.Body, c.limits, grow)
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "application/json" {
		unknown(reply.Unknown).value("content-type", []byte(kind))
	}
	if reply.Facts.AsOf.IsZero() { // iOS 6 style replies have no request_date
		reply.Facts.AsOf = replied(response)
	}
	var cause readError
	if errors.As(err, &cause) {
		return reply, fault(ctx, cause.error)
	}
	return reply, err
}

// replied is Apple's time of the reply as HTTP tells it, possible or not, and zero
// where it does not: our own would make a reply new that may have been kept for
// days.
func replied(response *http.Response) time.Time {
	t, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// fault makes one of our errors of what the transport reports. Its text is
// kept only where it is known to quote nothing that the server sent.
func fault(ctx context.Context, err error) error {
	var receipt *receiptError
	var timeout interface{ Timeout() bool }
	var corrupt flate.CorruptInputError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &receipt):
		return receipt
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("%w: bad compression", ErrMalformedReply)
	}
	return connectionError(err)
}

// connectionError keeps the cause of a connection that failed, in words of ours.
func connectionError(err error) error {
	if cause := connectionCause(err); cause != "" {
		return fmt.Errorf("%w: %s", ErrConnection, cause)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%w: %w", ErrConnection, op)
	}
	return ErrConnection
}

// http2Error has the fields of the error of a stream that the other side ended,
// which net/http does not export but fills in.
type http2Error struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e http2Error) Error() string { return fmt.Sprintf("HTTP/2 stream ended with code %d", e.Code) }

// connectionCause is why a connection failed, empty where it is not known.
func connectionCause(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		alert     tls.AlertError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		stream    http2Error
	)
	switch {
	case errors.As(err, &authority):
		return "certificate of an authority that this machine does not trust"
	case errors.As(err, &host):
		return "certificate of another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate expired or not yet valid, by the clock of this machine"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "certificate not valid"
	case errors.As(err, &alert):
		return fmt.Sprintf("TLS refused (alert %d)", uint8(alert))
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "no TLS: something else responds"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "DNS does not know the host"
	case errors.As(err, &dns):
		return "DNS failed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset by the other side"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to the host"
	case errors.As(err, &stream):
		return stream.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed before the reply"
	}
	return ""
}
