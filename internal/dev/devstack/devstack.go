// Package devstack starts a throw-away Postgres and a throw-away Redis for
// demos, benchmarks and tests, from whatever the machine has installed, and
// leaves nothing behind when the program that started them dies, however it
// dies. What is kept for longer than a run belongs to docker-compose.yml; the
// production binary never links this package.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"
)

// ErrNotInstalled is wrapped by the error of a service that cannot be had on
// this machine, as opposed to one that is there and does not start. The text
// around it says what to install.
var ErrNotInstalled = errors.New("not installed")

// Config says how a service is started. The zero value is ready to use.
type Config struct {
	// Durable keeps Postgres's fsync, full_page_writes and synchronous_commit
	// on. Without it a crash of the machine loses the data, which is thrown
	// away anyhow, and commits cost no disk write; benchmarks want it on.
	// Redis has nothing to keep and ignores it.
	Durable bool
	// MaxConnections is how many clients Postgres takes; 0 is 200.
	MaxConnections int
	// Settings are more settings of Postgres, as name=value.
	Settings []string
	// RedisSettings are more lines of Redis's configuration, such as "user … on …".
	RedisSettings []string
	// Folders are searched for the server's programs in place of PATH and the
	// folders where Debian, Homebrew and postgresql.org put them. With Folders
	// set nothing is downloaded.
	Folders []string
	// Logger is told which server was chosen, and why a better one was not.
	// nil is slog.Default.
	Logger *slog.Logger
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

const (
	// startTimeout is what a server gets until it answers. It takes 50 ms on
	// an idle machine; one that runs the race detector on every core is slow.
	startTimeout = 30 * time.Second
	// stopTimeout is what a server gets to end by itself before it is killed.
	stopTimeout = 5 * time.Second
	// answerTimeout is what one question to a starting server gets.
	answerTimeout = time.Second
	// pollInterval is how often a starting server is asked.
	pollInterval = 10 * time.Millisecond
	// portAttempts is how many free ports are tried. Another program may take
	// a free port before the server binds it.
	portAttempts = 3
)

// freePort returns a loopback port that was free a moment ago.
func freePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// onFreePort calls start with one free port after another until it succeeds,
// gives up after portAttempts, or fails for another reason than the end of the
// server, which is all that a server does about a port that is taken.
func onFreePort(ctx context.Context, start func(ctx context.Context, port int) (*process, error)) (*process, int, error) {
	var failed error
	for range portAttempts {
		port, err := freePort()
		if err != nil {
			return nil, 0, err
		}
		server, err := start(ctx, port)
		if err == nil {
			return server, port, nil
		}
		failed = err
		if !errors.Is(err, errExited) {
			break
		}
	}
	return nil, 0, failed
}

// awaitReady polls ready until it answers nil. It ends early with errExited
// when the server does, and with the last answer when the time is over.
func awaitReady(ctx context.Context, server *process, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-server.exited:
			return fmt.Errorf("%w: %v", errExited, server.waitErr)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (%v)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
