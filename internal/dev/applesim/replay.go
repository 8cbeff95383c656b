package applesim

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
)

// Recorded is a recorded reply, to be given word for word.
type Recorded struct {
	// HTTPStatus is 200 if 0.
	HTTPStatus int
	// ContentType is that of JSON if empty.
	ContentType string
	Body        []byte
}

type replay struct {
	Recorded
	status   *int // the receipt status code in the body, for the log
	attempts atomic.Int64
}

// Replay has the receipt with the SHA-256 of its bytes, in hex, answered with
// the reply from now on, whatever the environment and the secret. The receipt
// need not be of a customer.
func (s *Server) Replay(sha256Hex string, reply Recorded) {
	if reply.HTTPStatus == 0 {
		reply.HTTPStatus = http.StatusOK
	}
	if reply.ContentType == "" {
		reply.ContentType = contentJSON
	}
	r := &replay{Recorded: reply}
	var told struct {
		Status *int `json:"status"`
	}
	if json.Unmarshal(reply.Body, &told) == nil {
		r.status = told.Status
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replays[strings.ToLower(sha256Hex)] = r
}

func (s *Server) recorded(sha256Hex string) *replay {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.replays[sha256Hex]
}

func (r *replay) answer(e *Entry) answer {
	e.Status = r.status
	return answer{httpStatus: r.HTTPStatus, contentType: r.ContentType, body: r.Body}
}
