package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"
)

// liveness is whether the process is alive, as Config.Alive says. It asks nobody
// else, so that an outage of Postgres does not make a supervisor restart every
// process.
type liveness struct {
	alive  Check
	logger *slog.Logger
}

// ServeHTTP answers 200 while the process does what it is there for, else 503
// and what does not move.
func (h liveness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.alive != nil {
		if err := h.alive(r.Context()); err != nil {
			h.logger.ErrorContext(r.Context(), "not alive", "error", err)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = w.Write([]byte("ok\n"))
}

// checkTimeout is shorter than the patience of any prober.
const checkTimeout = 2 * time.Second

type readiness struct {
	checks map[string]Check
	logger *slog.Logger
}

// answer is the body of /readyz.
type answer struct {
	Ready bool `json:"ready"`
	// Checks has "ok" or "failed" for each. Why is in the log: errors of
	// clients name hosts and users.
	Checks map[string]string `json:"checks"`
}

// ServeHTTP answers 200 where every check succeeds, else 503.
func (h readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result := h.ask(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !result.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(result)
}

func (h readiness) ask(ctx context.Context) answer {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	pending := make(map[string]<-chan error, len(h.checks))
	for name, check := range h.checks {
		pending[name] = start(ctx, check)
	}
	result := answer{Ready: true, Checks: make(map[string]string, len(h.checks))}
	for name, done := range pending {
		err := await(ctx, done)
		result.Checks[name] = "ok"
		if err != nil {
			h.logger.WarnContext(ctx, "not ready", "check", name, "error", err)
			result.Ready, result.Checks[name] = false, "failed"
		}
	}
	return result
}

// start runs a check next to the others. Not every client looks at its context;
// one that does not ends by its own timeout, and nobody listens any more.
func start(ctx context.Context, check Check) <-chan error {
	done := make(chan error, 1)
	go func() { done <- check(ctx) }()
	return done
}

// await prefers the result where there is one, because another check may have
// used up the time.
func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	default:
		return ctx.Err()
	}
}
