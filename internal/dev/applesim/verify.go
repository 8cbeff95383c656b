package applesim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// The receipt status codes that the simulator comes to by itself.
// https://developer.apple.com/documentation/appstorereceipts/status
const (
	statusNotPost      = 21000
	statusMalformed    = 21002
	statusSecret       = 21004
	statusIsSandbox    = 21007
	statusIsProduction = 21008
)

// request is the body of a request to verifyReceipt.
type request struct {
	ReceiptData string `json:"receipt-data"`
	Password    string `json:"password"`
	ExcludeOld  bool   `json:"exclude-old-transactions"`
}

// verifyReceipt is the handler of one environment.
func (s *Server) verifyReceipt(environment string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e := Entry{RealTime: s.cfg.Now(), SimulatedTime: s.clock.Now(), Environment: environment}
		a := s.consider(&e, w, r)
		e.Dated = a.mishap.date(e.SimulatedTime)
		e.HTTPStatus, e.Fault, e.ReplyBytes = a.httpStatus, a.mishap.name(), len(a.body)
		// Before the answer: one that never ends has been asked too, and a
		// client that has its answer finds its request in the log.
		s.log.add(e, a.asked)
		a.send(w, r, e.SimulatedTime)
	}
}

// consider decides on the answer to a request and notes in e what it learns.
func (s *Server) consider(e *Entry, w http.ResponseWriter, r *http.Request) answer {
	if r.Method != http.MethodPost {
		return e.code(statusNotPost)
	}
	body, ok := s.read(w, r)
	e.BodyBytes = len(body)
	if !ok {
		return page(http.StatusRequestEntityTooLarge)
	}
	var q request
	if err := json.Unmarshal(body, &q); err != nil {
		return e.code(statusMalformed)
	}
	e.ExcludeOld = q.ExcludeOld
	data, ok := decode(q.ReceiptData)
	if !ok {
		return e.code(statusMalformed)
	}
	sum := sha256.Sum256(data)
	e.ReceiptSHA256 = hex.EncodeToString(sum[:])
	if recorded := s.recorded(e.ReceiptSHA256); recorded != nil {
		e.Attempt = int(recorded.attempts.Add(1))
		return s.spoil(e, binary.BigEndian.Uint64(sum[:]), func(mishap) answer { return recorded.answer(e) })
	}
	known, ok := s.recognise(data)
	if !ok {
		return e.code(statusMalformed)
	}
	return s.identified(e, q, known)
}

// identified answers a request once it is known whose receipt it carries.
func (s *Server) identified(e *Entry, q request, known claim) answer {
	c := s.population.customer(known.customer, 0)
	e.BundleID, e.CustomerRef = c.app.BundleID, c.ref()
	e.Attempt = s.attempts.next(known.customer)
	if !s.limits.allow(e.BundleID, e.Environment) {
		return page(http.StatusTooManyRequests)
	}
	return s.spoil(e, uint64(known.customer), func(m mishap) answer { return s.judge(e, q, known, c, m) })
}

// spoil lets the rules at a request: what they ruin altogether is never worked
// out, the rest is ruined afterwards.
func (s *Server) spoil(e *Entry, key uint64, well func(mishap) answer) answer {
	m := s.mishap(e, key)
	a, ruined := m.instead(e, s.cfg.Now())
	if !ruined {
		a = m.ruin(well(m))
	}
	a.mishap = m
	return a
}

// judge answers as Apple would: the environment first, then the secret, then
// the receipt.
func (s *Server) judge(e *Entry, q request, known claim, c *customer, m mishap) answer {
	switch {
	case c.sandbox && e.Environment == Production:
		return e.code(statusIsSandbox)
	case !c.sandbox && e.Environment == Sandbox:
		return e.code(statusIsProduction)
	}
	if known.style == StyleTransaction {
		known.created = c.created
		if c.style == StyleApp {
			known.created = c.begins
		}
	}
	asked := question{
		receipt: known, now: at(e.SimulatedTime), dated: at(e.SimulatedTime), bundleID: c.app.BundleID,
		excludeOld: q.ExcludeOld, sent: q.ReceiptData,
	}
	m.mislead(&asked)
	if known.style == StyleTransaction {
		// It has always held its purchase, wherever the clock was set to.
		asked.now = max(asked.now, known.created)
	}
	asked.customer = s.population.customer(known.customer, max(asked.now, known.created, c.created))
	if !s.acceptSecret(e, q.Password, asked.customer.subscribed(max(asked.now, known.created))) {
		return e.code(statusSecret)
	}
	body, status, err := s.reply(asked)
	if err != nil {
		return page(http.StatusInternalServerError)
	}
	e.Status = &status
	asked.customer, asked.sent = nil, "" // the log keeps it
	return answer{httpStatus: http.StatusOK, contentType: contentJSON, body: body, asked: &asked}
}

// acceptSecret checks the password. A receipt without subscriptions needs
// none, but a wrong one is wrong all the same.
func (s *Server) acceptSecret(e *Entry, password string, needed bool) bool {
	if password == "" {
		e.Secret = SecretMissing
		return !needed
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, secret := range s.secrets[e.BundleID] {
		if strings.EqualFold(secret, password) {
			e.Secret, e.SecretIndex = SecretAccepted, i
			return true
		}
	}
	e.Secret = SecretRefused
	return false
}

// read reads the body, whole even when it is too long: a client still sending
// would see a reset connection instead of the answer.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), s.cfg.MaxBody)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(r.Body, s.cfg.MaxBody+1))
	if int64(b.Len()) <= s.cfg.MaxBody {
		return b.Bytes(), err == nil
	}
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 16*s.cfg.MaxBody))
	return b.Bytes(), false
}

// decode is as strict as Apple was measured to be: the standard alphabet with
// exact padding and nothing else. The package base64 skips line ends even when
// it is strict.
func decode(text string) ([]byte, bool) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	return data, err == nil
}

// attempts counts the requests of each customer.
type attempts struct{ counts []atomic.Uint32 }

func newAttempts(customers int) *attempts { return &attempts{make([]atomic.Uint32, customers)} }

func (a *attempts) next(customer int) int { return int(a.counts[customer].Add(1)) }
