package applesim

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Traffic is how much of one app's requests came to one environment.
type Traffic struct {
	BundleID    string `json:"bundle_id"`
	Environment string `json:"environment"`
	Requests    int64  `json:"requests"`
	// Violations are the requests above the limit, which were answered 429.
	Violations int64 `json:"violations"`
}

// rateLimits counts every app's requests to each environment, and refuses
// those above the limit.
type rateLimits struct {
	limit int // requests in any second; 0 is none
	now   func() time.Time

	mu   sync.Mutex
	apps map[[2]string]*window
}

// window remembers the times of the last requests that were let through, as
// many as the limit, in a ring.
type window struct {
	Traffic
	passed []time.Time
	next   int
}

func newRateLimits(limit int, now func() time.Time) *rateLimits {
	return &rateLimits{limit: limit, now: now, apps: make(map[[2]string]*window)}
}

// allow is false if a request makes more than the limit within a second.
func (l *rateLimits) allow(bundleID, environment string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.apps[[2]string{bundleID, environment}]
	if w == nil {
		w = &window{Traffic: Traffic{BundleID: bundleID, Environment: environment}, passed: make([]time.Time, l.limit)}
		l.apps[[2]string{bundleID, environment}] = w
	}
	w.Requests++
	if l.limit == 0 {
		return true
	}
	now := l.now()
	if now.Sub(w.passed[w.next]) < time.Second {
		w.Violations++
		return false
	}
	w.passed[w.next] = now
	w.next = (w.next + 1) % l.limit
	return true
}

// Traffic describes every app and environment that was asked about, ordered by
// their names.
func (s *Server) Traffic() []Traffic {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	var all []Traffic
	for _, w := range s.limits.apps {
		all = append(all, w.Traffic)
	}
	slices.SortFunc(all, func(a, b Traffic) int {
		return cmp.Or(cmp.Compare(a.BundleID, b.BundleID), cmp.Compare(a.Environment, b.Environment))
	})
	return all
}
