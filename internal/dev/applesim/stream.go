package applesim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	bombSize = 128 << 20
	// dripEvery is how long a drop takes: a reply of a kilobyte a minute and more.
	dripEvery = 100 * time.Millisecond
	// hugeHeaders is the default of FaultHeaders.
	hugeHeaders = 9_600_000
)

// sendOddly gives an answer whose fault is in how it is sent; false if it is no
// such answer. The header is complete but for its lengths.
func (a answer) sendOddly(w http.ResponseWriter, r *http.Request) bool {
	if a.mishap.rule == nil {
		return false
	}
	switch a.mishap.rule.Fault {
	case FaultEndless:
		sendEndless(w)
	case FaultBomb:
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb())
	case FaultDrip:
		a.drip(w, r)
	case FaultHeaders:
		addHeaders(w.Header(), cmp.Or(a.mishap.rule.Bytes, hugeHeaders))
		return false
	case FaultLength:
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // the rest never comes
	default:
		return false
	}
	return true
}

// sendEndless ends when the client leaves.
func sendEndless(w http.ResponseWriter) {
	_, err := w.Write([]byte(`{"status":0,"latest_receipt":"`))
	for chunk := bytes.Repeat([]byte("MIIT"), 8<<10); err == nil; {
		_, err = w.Write(chunk)
	}
}

// bomb is made once: it costs a second.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	_, _ = w.Write([]byte(`{"status":0,"latest_receipt":"`))
	chunk := bytes.Repeat([]byte("A"), 1<<20)
	for range bombSize / len(chunk) {
		_, _ = w.Write(chunk)
	}
	_ = w.Close()
	return packed.Bytes()
})

// addHeaders adds headers of so many bytes, 8 KB in each.
func addHeaders(header http.Header, size int) {
	filler := strings.Repeat("f", 8<<10)
	for i := 0; size > 0; i++ {
		n := min(size, len(filler))
		header.Set("X-Filler-"+strconv.Itoa(i), filler[:n])
		size -= n
	}
}

func (a answer) drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	drop := time.NewTicker(dripEvery)
	defer drop.Stop()
	out := http.NewResponseController(w)
	for i := range a.body {
		if _, err := w.Write(a.body[i : i+1]); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-drop.C:
		case <-r.Context().Done():
			return
		}
	}
}
