package web

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func routes(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/healthz", liveness{alive: c.Alive, logger: c.Logger})
	mux.Handle("/readyz", readiness{checks: c.Checks, logger: c.Logger})
	metrics := promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{})
	if c.Redis == nil {
		mux.Handle("/metrics", metrics)
		return mux
	}
	mux.Handle("/metrics", guard(c, metrics))
	mux.Handle(c.Path+"/", guard(c, queuePages(c)))
	mux.Handle(c.Path+"/api/scheduler_entries", guard(c, http.HandlerFunc(c.schedulerEntries)))
	if c.Path != "" {
		mux.Handle("/{$}", guard(c, http.RedirectHandler(c.Path+"/", http.StatusFound)))
	}
	return mux
}

// contentPolicy keeps the pages from loading and sending anything elsewhere.
// asynq's page asks for fonts of another site, which it does without. Its
// scripts and styles stand inside the page, so that "unsafe-inline" must be.
const contentPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';" +
	" img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// readOnly lets nothing but reading through. asynq's pages can delete every
// task, so what changes anything is refused here as well as there.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "these pages are read-only", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// protect refuses changes, or those that another site asks a browser for, which
// asynq's pages do not check; and it adds what browsers should know.
func protect(c Config, next http.Handler) http.Handler {
	if !c.ReadWrite {
		next = readOnly(next)
	}
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		// Everything here is about now, except asynq's few static files.
		header.Set("Cache-Control", "no-store")
		sameOrigin.ServeHTTP(w, r)
	})
}
