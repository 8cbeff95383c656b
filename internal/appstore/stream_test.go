package appstore_test

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"testing"

	"revalidator/internal/appstore"
)

// allocated is how many bytes are allocated during f, freed since or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// endless is a reader of one letter.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	return len(p), nil
}

// longReply is a reply of 24 MiB, nearly all of it latest_receipt.
func longReply() io.Reader {
	head, tail := accepted[:len(accepted)-1]+`,"latest_receipt":"`, `"}`
	return io.MultiReader(bytes.NewBufferString(head), io.LimitReader(endless{}, 24<<20), bytes.NewBufferString(tail))
}

// The tests of this file do not run in parallel, because they measure what is
// allocated in the whole process.

func TestDecodeReplyHoldsNoReceipt(t *testing.T) {
	var err error
	got := allocated(func() { _, err = appstore.DecodeReply(longReply(), appstore.Limits{}) })
	if err != nil {
		t.Fatal(err)
	}
	if got > 128<<10 {
		t.Errorf("a reply of 24 MiB allocated %d bytes, want at most 128 KiB", got)
	}
}

func TestVerifyReceiptStreams(t *testing.T) {
	const size = 2 << 20
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.Copy(w, longReply())
	}, nil))
	r := request()
	r.Receipt = brokenReceipt{size, io.LimitReader(endless{}, size), nil}
	var err error
	got := allocated(func() { _, err = c.VerifyReceipt(t.Context(), r) })
	if err != nil {
		t.Fatal(err)
	}
	if got > 1<<20 {
		t.Errorf("a request of 2.8 MB and a reply of 24 MiB allocated %d bytes on both sides, want at most 1 MiB", got)
	}
}

func TestDecodeReplyHoldsRepeatedTextsOnce(t *testing.T) {
	const records = 5500
	body, err := io.ReadAll(newGenerated(records))
	if err != nil {
		t.Fatal(err)
	}
	got := allocated(func() {
		var r appstore.Reply
		r, err = appstore.DecodeReply(bytes.NewReader(body), appstore.Limits{})
		if n := len(r.Facts.Transactions()); n != records {
			t.Errorf("got %d transactions, want %d", n, records)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if most := uint64(len(body)); got > most {
		t.Errorf("a reply of %d bytes allocated %d, want less than its size", len(body), got)
	}
}
