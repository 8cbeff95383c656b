package appstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Receipt gives the bytes of a receipt: the DER or property list itself, not
// base64. It is opened anew for each request, because a receipt may have to be
// sent again to the other environment or with another secret.
type Receipt interface {
	// Size is how many bytes Open gives. A stream of another length fails.
	Size() int64
	Open(ctx context.Context) (io.ReadCloser, error)
}

// receiptError is a receipt that cannot be read: a fault of ours, which the
// transport must not make look like one of the connection.
type receiptError struct{ error }

func (e *receiptError) Error() string { return "read receipt: " + e.error.Error() }
func (e *receiptError) Unwrap() error { return e.error }

var errLength = errors.New("its length is not the announced one")

// requestBody is a body that can be streamed more than once, so that neither a
// receipt nor its base64 is ever held whole.
type requestBody struct {
	receipt        Receipt
	prefix, suffix []byte
}

func newRequestBody(r Request) requestBody {
	b := requestBody{receipt: r.Receipt, prefix: []byte(`{"receipt-data":"`)}
	suffix := bytes.NewBufferString(`"`)
	if !r.Password.IsZero() {
		password, _ := json.Marshal(r.Password.Reveal()) // a string always marshals
		suffix.WriteString(`,"password":`)
		suffix.Write(password)
	}
	fmt.Fprintf(suffix, `,"exclude-old-transactions":%t}`, r.ExcludeOldTransactions)
	b.suffix = suffix.Bytes()
	return b
}

// size is the length of the whole body in bytes.
func (b requestBody) size() int64 {
	return int64(len(b.prefix)) + (b.receipt.Size()+2)/3*4 + int64(len(b.suffix))
}

func (b requestBody) open(ctx context.Context) (io.ReadCloser, error) {
	receipt, err := b.receipt.Open(ctx)
	if err != nil {
		return nil, &receiptError{err}
	}
	encoded := &base64Reader{src: receipt, left: b.receipt.Size()}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.prefix), encoded, bytes.NewReader(b.suffix)), receipt}, nil
}

// base64Reader encodes as it is read, which a writer such as base64.NewEncoder
// can only do with a goroutine and a pipe. It insists on the announced length,
// because Content-Length was computed from it.
type base64Reader struct {
	src  io.Reader
	left int64 // bytes of src still to come

	raw     [6 << 10]byte // a multiple of 3, so that only the end is padded
	encoded [8 << 10]byte
	pending []byte // the part of encoded not yet read
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(r.pending) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

func (r *base64Reader) fill() error {
	n, err := io.ReadFull(r.src, r.raw[:])
	r.left -= int64(n)
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return &receiptError{err}
	case r.left < 0, err != nil && r.left > 0:
		return &receiptError{errLength}
	case n == 0:
		return io.EOF
	}
	base64.StdEncoding.Encode(r.encoded[:], r.raw[:n])
	r.pending = r.encoded[:base64.StdEncoding.EncodedLen(n)]
	return nil
}
