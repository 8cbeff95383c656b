package devstack

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Redis is a running server without any key.
type Redis struct {
	// URL is what asynq and go-redis connect with. It holds the password of
	// this one server.
	URL string
	// Simulated is true for the stand-in inside this program, which is slower
	// than a server and keeps to one process's memory.
	Simulated bool

	stop   func() error
	resume func(context.Context) (*process, error) // nil where it is simulated
}

// StartRedis starts a redis-server, or else a valkey-server, on a free
// loopback port and returns once it answers, some ten milliseconds later. On a
// machine with neither it starts a stand-in inside this program.
//
// The server lives until Stop or the end of this program; ctx only bounds the
// start.
func StartRedis(ctx context.Context, cfg Config) (*Redis, error) {
	program, err := findRedis(cfg)
	if err != nil {
		cfg.logger().Warn("Redis is not installed: a simulated one runs in this program", slog.String("to_install", advice([]Tool{ToolRedis})))
		return startSimulated()
	}
	who, err := serverAccount()
	if err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	store := store{program: program, who: who, password: rand.Text(), settings: cfg.RedisSettings}
	server, port, err := onFreePort(ctx, store.serve)
	if err != nil {
		return nil, fmt.Errorf("start redis from %s: %w", program, err)
	}
	cfg.logger().Info("started redis", slog.String("program", program), slog.Int("port", port))
	return &Redis{
		URL:    store.url(port),
		stop:   func() error { return server.stop(syscall.SIGTERM) },
		resume: func(ctx context.Context) (*process, error) { return store.serve(ctx, port) },
	}, nil
}

// Resume starts the server again after Stop, on the same port and without any
// key. The stand-in cannot.
func (r *Redis) Resume(ctx context.Context) error {
	if r.resume == nil {
		return errors.New("resume redis: the stand-in cannot")
	}
	server, err := r.resume(ctx)
	if err != nil {
		return fmt.Errorf("resume redis: %w", err)
	}
	r.stop = func() error { return server.stop(syscall.SIGTERM) }
	return nil
}

// Stop ends the server.
func (r *Redis) Stop() error { return r.stop() }

func findRedis(cfg Config) (string, error) {
	folders := cfg.Folders
	if folders == nil {
		folders = append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
	}
	for _, program := range []string{"redis-server", "valkey-server"} {
		for _, folder := range folders {
			if path, err := exec.LookPath(filepath.Join(folder, program)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("redis-server or valkey-server: %w", ErrNotInstalled)
}

// store is one Redis and the way to run it.
type store struct {
	program  string
	who      *account
	password string
	settings []string
}

func (s store) url(port int) string {
	location := url.URL{
		Scheme: "redis",
		User:   url.UserPassword("default", s.password),
		Host:   address(port),
		Path:   "/0",
	}
	return location.String()
}

// configuration is read by the server from its standard input, because a
// password among its arguments would show in the list of processes.
func (s store) configuration(port int) string {
	return strings.Join(append([]string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(port),
		"requirepass " + s.password,
		`save ""`,
		"loglevel warning",
		"dir /", // Nothing is ever written, and every user can enter it.
		// A queue that loses tasks to eviction looks like a bug of the worker.
		"maxmemory-policy noeviction",
		// As in docker-compose.yml, so that memory figures compare.
		"hash-max-listpack-value 512",
	}, append(s.settings, "")...), "\n")
}

func (s store) serve(ctx context.Context, port int) (*process, error) {
	var output strings.Builder
	// The server outlives ctx, which only bounds the start.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.program, "-")
	cmd.Stdin = strings.NewReader(s.configuration(port))
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = "/"
	cmd.SysProcAttr = childAttributes(s.who, syscall.SIGTERM)
	server, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	answer := func(ctx context.Context) error { return s.answer(ctx, port) }
	if err := awaitReady(ctx, server, answer); err != nil {
		stopErr := server.stop(syscall.SIGKILL)
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, output.String()), stopErr)
	}
	return server, nil
}

// answer asks with the password, which no other program's server that took the
// port first would accept. It does without a Redis client, as those log each
// time that a starting server does not answer yet.
func (s store) answer(ctx context.Context, port int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address(port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\n", s.password); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && reply != "+OK\r\n" {
		err = errors.New("redis refused the password")
	}
	return err
}
