// Package applesim is a simulated App Store: a living population of customers
// with their receipts, Apple's verifyReceipt over them with Apple's faults, a
// clock to move through their lives, and the truth to compare with. It leaves
// understanding the replies to internal/appstore and shares no types with it,
// so that a field misspelled on one side cannot cancel itself out. It is for
// tests and development programs and is never linked into the production one.
package applesim

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is one simulated App Store. Everything about its customers is a pure
// function of its Config and of the time on its Clock. It is safe for
// concurrent use.
type Server struct {
	clock      *Clock
	population *population
	authority  *authority
	cfg        Config
	identity   identity
	pacific    *time.Location

	log      *requestLog
	limits   *rateLimits
	attempts *attempts
	rules    atomic.Pointer[[]Rule]

	mu      sync.RWMutex
	secrets map[string][]string // by bundle id
	replays map[string]*replay  // by sha-256 in hex
}

// New builds a simulator. It generates three RSA keys from the seed, which
// takes some tenths of a second, and no customers: those are computed when
// asked for.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("applesim: %w", err)
	}
	authority, err := newAuthority(cfg.Seed)
	if err != nil {
		return nil, fmt.Errorf("applesim: %w", err)
	}
	return newServer(cfg, authority)
}

func newServer(cfg Config, authority *authority) (*Server, error) {
	pacific, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		return nil, fmt.Errorf("applesim: %w", err)
	}
	population := newPopulation(cfg)
	s := &Server{
		clock:      NewClock(cfg.Start, cfg.Speed, cfg.Now),
		population: population,
		authority:  authority,
		cfg:        cfg,
		identity:   newIdentity(cfg.Seed),
		pacific:    pacific,
		log:        newRequestLog(cfg.LogSize),
		limits:     newRateLimits(cfg.RateLimit, cfg.Now),
		attempts:   newAttempts(population.size()),
		secrets:    make(map[string][]string),
		replays:    make(map[string]*replay),
	}
	for _, app := range cfg.Apps {
		s.secrets[app.BundleID] = app.Secrets
	}
	if err := s.SetFaults(cfg.Faults); err != nil {
		return nil, fmt.Errorf("applesim: %w", err)
	}
	return s, nil
}

// Clock is the simulated time of the App Store.
func (s *Server) Clock() *Clock { return s.clock }

// Root is the certificate that the receipts' chain ends in: what Apple's root
// is to real receipts.
func (s *Server) Root() *x509.Certificate { return s.authority.root }

// Secrets lists the shared secrets that the app's receipts are accepted with.
func (s *Server) Secrets(bundleID string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]string(nil), s.secrets[bundleID]...)
}

// SetSecrets replaces the accepted shared secrets of an app. With none, every
// password is refused.
func (s *Server) SetSecrets(bundleID string, secrets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[bundleID] = append([]string(nil), secrets...)
}

// SetFaults replaces the rules by which requests go wrong. The first rule that
// applies to a request decides; those of latency and of clocks add up, and add to
// it.
func (s *Server) SetFaults(rules []Rule) error {
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("fault rule %d: %w", i, err)
		}
	}
	kept := append([]Rule(nil), rules...)
	s.rules.Store(&kept)
	return nil
}

// Handler serves both environments of verifyReceipt under /production and
// /sandbox, the controls under /control/, and /healthz.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/production/verifyReceipt", s.verifyReceipt(Production))
	mux.HandleFunc("/sandbox/verifyReceipt", s.verifyReceipt(Sandbox))
	s.handleControl(mux)
	return mux
}
