// Package web serves what can be looked at: asynq's pages about the queue, the
// health of the process and its metrics. What the health checks check, which
// metrics there are and what a task is about it leaves to its callers.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"revalidator/internal/secret"
)

// ErrExposed says that the pages about the queue would be open to whoever
// reaches another address than a loopback one.
var ErrExposed = errors.New("without a user and a password the pages about the queue are served on this machine only:" +
	" set REVALIDATOR_UI_USER and REVALIDATOR_UI_PASSWORD, or use 127.0.0.1:8080")

// ErrWeakPassword says that the password is too easy to guess for pages that others
// can reach.
var ErrWeakPassword = fmt.Errorf("REVALIDATOR_UI_PASSWORD has less than %d characters, which is too easy to guess beyond this machine:"+
	" make one with 'openssl rand -base64 24'", leastPassword)

// leastPassword is how many characters a password has at least, beyond this machine.
const leastPassword = 12

// Check asks a service for a sign of life. Its error is logged and not shown.
type Check func(context.Context) error

// Config is what a Server needs.
type Config struct {
	// Addr is host:port to listen on. With Redis set and no User, only a
	// loopback address is accepted.
	Addr string
	// User and Password are asked for (HTTP basic) before anything but health
	// is shown; without User nobody is asked. They go together.
	User     string
	Password secret.Value
	// Hosts are names by which a loopback Addr may be asked for beside its own
	// and localhost, such as that of a proxy.
	Hosts []string
	// Proxies are networks of proxies that are believed when they say who asks.
	Proxies []netip.Prefix
	// ReadWrite offers and allows what changes the queue.
	ReadWrite bool
	// Describe says in words what a task of a type is about; where it is nil or
	// returns nothing, the payload itself is shown.
	Describe func(taskType string, payload []byte) string
	// Scheduled is what asynq's page about schedulers shows; nil shows nothing. Asynq
	// knows only of its own scheduler, which is not ours.
	Scheduled func() Scheduled
	// Path is where the pages about the queue are; empty is "/". Health and
	// metrics are at /healthz, /readyz and /metrics whatever it is.
	Path string
	// Redis is where the queue is. Nil leaves the pages out, so that a worker
	// can show its health and metrics to other machines. Its owner closes it.
	Redis redis.UniversalClient
	// Alive is asked by /healthz: its error says what in this process does not
	// move any more, is shown, and makes a supervisor restart it. Nil is alive.
	Alive Check
	// Checks are asked by /readyz, each under its name.
	Checks map[string]Check
	// Gatherer collects the metrics.
	Gatherer prometheus.Gatherer
	// Logger gets failed checks and broken connections.
	Logger *slog.Logger
}

// Scheduled is what is started by a schedule.
type Scheduled struct {
	// Spec is a cron expression with its time zone, and Task what it starts.
	Spec, Task string
	Next       time.Time
}

// Server serves over HTTP. Make one with New.
type Server struct {
	addr    string
	handler http.Handler
	logger  *slog.Logger
}

// New checks the configuration and opens nothing. It returns ErrExposed where
// the pages about the queue would be open to other machines.
func New(c Config) (*Server, error) {
	if c.Gatherer == nil || c.Logger == nil {
		return nil, errors.New("web: metrics and a logger are needed")
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("web: address %q: want host:port", c.Addr)
	}
	if (c.User == "") != c.Password.IsZero() {
		return nil, errors.New("web: a user and a password go together")
	}
	if c.Redis != nil && c.User == "" && !isLoopback(host) {
		return nil, fmt.Errorf("web: address %q: %w", c.Addr, ErrExposed)
	}
	if c.Redis != nil && !isLoopback(host) && utf8.RuneCountInString(c.Password.Reveal()) < leastPassword {
		return nil, fmt.Errorf("web: address %q: %w", c.Addr, ErrWeakPassword)
	}
	// The path becomes a pattern of the router and part of a page.
	if !cleanPath.MatchString(c.Path) {
		return nil, fmt.Errorf("web: path %q: want letters, digits and -._~ between slashes, such as /queue", c.Path)
	}
	c.Path = strings.TrimSuffix(c.Path, "/")
	return &Server{addr: c.Addr, handler: protect(c, routes(c)), logger: c.Logger}, nil
}

var cleanPath = regexp.MustCompile(`^((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?)?$`)

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Handler serves everything, for a listener of the caller's.
func (s *Server) Handler() http.Handler { return s.handler }

// Run listens on Config.Addr and serves until ctx ends. It then returns nil,
// once the open requests are answered or shutdownTimeout is over.
func (s *Server) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("serve web pages: %w", err)
	}
	return s.Serve(ctx, listener)
}

// Every wait for a client has an end, so that slow ones cannot pile up.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = time.Minute
	shutdownTimeout   = 5 * time.Second
	maxHeaderBytes    = 16 << 10
)

// Serve is Run on a listener that is open already, and closes it.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve web pages: %w", err)
	case <-ctx.Done():
	}
	// The requests that are open now may still be answered.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		_ = server.Close() // cuts the connections that did not end
	}
	<-served
	return nil
}
