package applesim

import (
	"iter"
	"sync"
	"time"
)

// What became of the password of a request. It is empty if the request did not
// get as far as the secret.
const (
	SecretAccepted = "accepted"
	SecretRefused  = "refused"
	SecretMissing  = "missing"
)

// Entry is what the log keeps of one request to verifyReceipt.
type Entry struct {
	// Seq counts the requests from 1.
	Seq           int64     `json:"seq"`
	RealTime      time.Time `json:"real_time"`
	SimulatedTime time.Time `json:"simulated_time"`
	// Dated is the time that the answer gave as its own.
	Dated time.Time `json:"dated"`
	// Environment is the one that was asked, not that of the receipt.
	Environment   string `json:"environment"`
	BundleID      string `json:"bundle_id,omitempty"`
	CustomerRef   string `json:"customer_ref,omitempty"`
	ReceiptSHA256 string `json:"receipt_sha256,omitempty"`
	// Attempt counts the requests with receipts of this customer from 1.
	Attempt int `json:"attempt,omitempty"`
	// Secret is the result of the password, and SecretIndex, if it was
	// accepted, its place among the secrets of the app.
	Secret      string `json:"secret,omitempty"`
	SecretIndex int    `json:"secret_index"`
	// HTTPStatus is 0 if there was no answer.
	HTTPStatus int `json:"http_status"`
	// Status is the receipt status code; nil if none was told.
	Status *int `json:"status,omitempty"`
	// Fault is what went wrong by a rule, such as "http 503".
	Fault      string `json:"fault,omitempty"`
	ExcludeOld bool   `json:"exclude_old_transactions"`
	// BodyBytes and ReplyBytes are the lengths of the bodies.
	BodyBytes  int `json:"body_bytes"`
	ReplyBytes int `json:"reply_bytes"`
}

// requestLog keeps the newest entries.
type requestLog struct {
	mu      sync.Mutex
	seq     int64
	entries []logged // a ring: entry n is at n-1 modulo its capacity
	size    int
}

// logged is an entry, and what was worked out for it; nil where nothing was.
type logged struct {
	Entry
	asked *question
}

func newRequestLog(size int) *requestLog { return &requestLog{size: max(size, 0)} }

func (l *requestLog) add(entry Entry, asked *question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	entry.Seq = l.seq
	e := logged{entry, asked}
	switch {
	case l.size == 0:
	case len(l.entries) < l.size:
		l.entries = append(l.entries, e)
	default:
		l.entries[(e.Seq-1)%int64(l.size)] = e
	}
}

func (l *requestLog) after(seq int64) []logged {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.seq - int64(len(l.entries))
	var found []logged
	for n := max(seq, oldest); n < l.seq; n++ {
		found = append(found, l.entries[n%int64(l.size)])
	}
	return found
}

// Log lists the remembered requests after the one with the sequence number, in
// order; Log(0) is all of them.
func (s *Server) Log(after int64) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, e := range s.log.after(after) {
			if !yield(e.Entry) {
				return
			}
		}
	}
}
