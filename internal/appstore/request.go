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
// base64. It is opened again for each request, because a receipt may have to be
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
	size := b.receipt.Size()
	encoded := &base64Reader{src: receipt, left: size, raw: make([]byte, min(size/3*3+3, maxRaw))}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.prefix), encoded, bytes.NewReader(b.suffix)), receipt}, nil
}

// maxRaw is how much of a receipt is encoded at a time.
const maxRaw = 24 << 10

// base64Reader encodes as it is read, which a writer such as base64.NewEncoder
// can only do with a goroutine and a pipe. It insists on the announced length,
// because Content-Length was computed from it.
type base64Reader struct {
	src  io.Reader
	left int64 // bytes of src still to come

	raw     []byte // of a multiple of 3, so that only the end is padded
	pending []byte // what was encoded and did not fit
}

// Read encodes into p itself where there is room for more than a few bytes, so
// that the transport sends as much at a time as it can.
func (r *base64Reader) Read(p []byte) (int, error) {
	if len(r.pending) > 0 {
		n := copy(p, r.pending)
		r.pending = r.pending[n:]
		return n, nil
	}
	raw, err := r.fill(min(max(len(p)/4*3, 3), len(r.raw)))
	if err != nil {
		return 0, err
	}
	if n := base64.StdEncoding.EncodedLen(len(raw)); n <= len(p) {
		base64.StdEncoding.Encode(p, raw)
		return n, nil
	}
	r.pending = []byte(base64.StdEncoding.EncodeToString(raw))
	return r.Read(p)
}

// fill reads n bytes of the receipt, or what is left of it.
func (r *base64Reader) fill(n int) ([]byte, error) {
	n, err := io.ReadFull(r.src, r.raw[:n])
	r.left -= int64(n)
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, &receiptError{err}
	case r.left < 0, err != nil && r.left > 0:
		return nil, &receiptError{errLength}
	case n == 0:
		return nil, io.EOF
	}
	return r.raw[:n], nil
}
