package repository

import (
	"context"
	"fmt"
	"io"

	"github.com/jmoiron/sqlx"
)

// sliceBytes is how much of a receipt is read at a time. It is what a receipt on
// its way to Apple holds in memory, twice.
const sliceBytes = 96 << 10

// ReceiptData gives the bytes of one receipt as often as they are asked for,
// in slices, so that no receipt is ever held whole.
type ReceiptData struct {
	db   *DB
	id   int64
	size int64
}

// ReceiptData is the data of receipt id, which has size bytes. Nothing is read
// until it is opened.
func (db *DB) ReceiptData(id, size int64) *ReceiptData {
	return &ReceiptData{db: db, id: id, size: size}
}

// Size is the number of bytes.
func (d *ReceiptData) Size() int64 { return d.size }

// Open starts at the first byte. The reader's errors are ErrNotFound where the
// receipt was removed meanwhile, and Postgres's own; ctx ends it.
func (d *ReceiptData) Open(ctx context.Context) (io.ReadCloser, error) {
	return &sliceReader{ctx: ctx, data: d}, nil
}

// sliceReader reads a receipt slice by slice. It keeps its context because
// io.Reader has no room for one; it lives no longer than one request to Apple.
type sliceReader struct {
	ctx    context.Context
	data   *ReceiptData
	offset int64
	slice  []byte
}

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.slice) == 0 {
		if r.offset >= r.data.size {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, fmt.Errorf("read receipt %d: %w", r.data.id, err)
		}
	}
	n := copy(p, r.slice)
	r.slice = r.slice[n:]
	return n, nil
}

func (r *sliceReader) next() error {
	const query = `SELECT substring(data FROM $2 FOR $3) FROM receipt_data WHERE receipt_id = $1`
	err := r.data.db.inBinary(r.ctx, func(tx *sqlx.Tx) error {
		return tx.GetContext(r.ctx, &r.slice, query, r.data.id, r.offset+1, sliceBytes)
	})
	if err != nil {
		return named(err)
	}
	if len(r.slice) == 0 {
		return io.ErrUnexpectedEOF
	}
	r.offset += int64(len(r.slice))
	return nil
}

func (r *sliceReader) Close() error {
	r.slice, r.offset = nil, r.data.size
	return nil
}
