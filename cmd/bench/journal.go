package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// journal notes when each request came, and tells at GET /times.
type journal struct {
	next http.Handler

	mu    sync.Mutex
	times []time.Time
}

// ServeHTTP notes a request and passes it on.
func (j *journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		j.tell(w)
		return
	}
	now := time.Now()
	j.mu.Lock()
	j.times = append(j.times, now)
	j.mu.Unlock()
	j.next.ServeHTTP(w, r)
}

// tell answers with the times so far, and forgets them.
func (j *journal) tell(w http.ResponseWriter) {
	j.mu.Lock()
	times := j.times
	j.times = nil
	j.mu.Unlock()
	_ = json.NewEncoder(w).Encode(times)
}
