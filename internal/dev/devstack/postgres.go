package devstack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Postgres is a running server with an empty database.
type Postgres struct {
	// URL is what lib/pq and psql connect with, as a superuser, to the
	// maintenance database. It holds the password of this one server.
	URL string

	server  *process
	folder  *folder
	cluster cluster
	port    int
}

// StartPostgres starts a Postgres on a free loopback port and returns once it
// accepts connections. It takes about a second. As root the server runs as the
// user postgres or nobody. A Postgres that is not installed is downloaded; the
// error wraps ErrNotInstalled where that fails as well.
//
// The server lives until Stop or the end of this program; ctx only bounds the
// start.
func StartPostgres(ctx context.Context, cfg Config) (*Postgres, error) {
	programs, err := findPostgres(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	who, err := serverAccount()
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	sweep(os.TempDir(), cfg.logger())
	folder, err := newFolder(os.TempDir(), who)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	cluster := cluster{programs: programs, folder: folder.path, lock: folder.lock, who: who, durable: cfg.Durable, connections: cmp.Or(cfg.MaxConnections, defaultConnections), settings: cfg.Settings, password: rand.Text()}
	server, port, err := cluster.start(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres from %s: %w", programs, err), folder.remove())
	}
	cfg.logger().Info("started postgres", slog.String("programs", programs), slog.Int("port", port))
	return &Postgres{URL: cluster.url(port), server: server, folder: folder, cluster: cluster, port: port}, nil
}

// Halt ends the server at once, as in a crash, and keeps its data and its port
// for Resume.
func (p *Postgres) Halt() error { return p.server.stop(syscall.SIGQUIT) }

// Resume starts the server again after Halt, and returns once it accepts
// connections.
func (p *Postgres) Resume(ctx context.Context) error {
	server, err := p.cluster.serve(ctx, p.port)
	if err != nil {
		return fmt.Errorf("resume postgres: %w", err)
	}
	p.server = server
	return nil
}

// Demote ends the server and starts it again as a standby, which can be read and not
// written, as after a failover; pg_promote() makes it a primary again.
func (p *Postgres) Demote(ctx context.Context) error {
	// A fast shutdown: a crash would lose what was committed without fsync.
	if err := p.server.stop(syscall.SIGINT); err != nil {
		return fmt.Errorf("demote postgres: %w", err)
	}
	signal := filepath.Join(p.cluster.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return fmt.Errorf("demote postgres: %w", err)
	}
	if err := p.cluster.who.own(signal); err != nil {
		return fmt.Errorf("demote postgres: %w", err)
	}
	return p.Resume(ctx)
}

// Own gives a folder to the account that the server runs as.
func (p *Postgres) Own(folder string) error { return p.cluster.who.own(folder) }

// Stop ends the server without waiting for its clients and removes its data.
func (p *Postgres) Stop() error {
	// SIGQUIT is Postgres's immediate shutdown: no checkpoint for data that is
	// thrown away.
	return errors.Join(p.server.stop(syscall.SIGQUIT), p.folder.remove())
}

// findPostgres returns the folder of Postgres's programs.
func findPostgres(ctx context.Context, cfg Config) (string, error) {
	if cfg.Folders != nil {
		return folderWith(cfg.Folders, "initdb", "postgres")
	}
	folder, err := installedPostgres()
	if err == nil {
		return folder, nil
	}
	folder, err = downloadPostgres(ctx, cfg.logger())
	if err != nil {
		return "", fmt.Errorf("Postgres is %w and could not be downloaded (%v); to install, run: %s", ErrNotInstalled, err, advice([]Tool{ToolPostgres}))
	}
	return folder, nil
}

func installedPostgres() (string, error) {
	return folderWith(postgresFolders(), "initdb", "postgres")
}

// cluster is a data folder and the way to run it.
type cluster struct {
	programs string
	folder   string
	lock     *os.File // nil where the folder is not locked
	who      *account
	durable  bool
	// connections is max_connections.
	connections int
	settings    []string
	password    string
}

// defaultConnections is enough for several test programs that share a server.
const defaultConnections = 200

func (c cluster) data() string { return filepath.Join(c.folder, "data") }
func (c cluster) log() string  { return filepath.Join(c.folder, "postgres.log") }

func (c cluster) url(port int) string {
	location := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", c.password),
		Host:     address(port),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return location.String()
}

func (c cluster) start(ctx context.Context) (*process, int, error) {
	if err := c.initialize(ctx); err != nil {
		return nil, 0, err
	}
	return onFreePort(ctx, c.serve)
}

// initialize makes the data folder. Clients give the password in plain text:
// the connection is a loopback one, and the key derivation of scram-sha-256
// would cost each of a test's many connections some milliseconds.
func (c cluster) initialize(ctx context.Context) error {
	password := filepath.Join(c.folder, "password")
	if err := os.WriteFile(password, []byte(c.password), 0o600); err != nil {
		return fmt.Errorf("write the password: %w", err)
	}
	if err := c.who.own(password); err != nil {
		return fmt.Errorf("write the password: %w", err)
	}
	cmd := c.command(ctx, "initdb", "-D", c.data(), "-U", "postgres", "-A", "password", "--pwfile", password,
		"-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	initdb, err := startProcess(cmd)
	if err != nil {
		return err
	}
	<-initdb.exited
	if ctx.Err() != nil {
		return fmt.Errorf("initdb: %w", context.Cause(ctx))
	}
	if initdb.waitErr != nil {
		return fmt.Errorf("initdb: %w\n%s", initdb.waitErr, output.String())
	}
	return nil
}

func (c cluster) serve(ctx context.Context, port int) (*process, error) {
	log, err := os.Create(c.log())
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	// The server outlives ctx, which only bounds the start.
	cmd := c.command(context.WithoutCancel(ctx), "postgres", c.arguments(port)...)
	cmd.Stdout, cmd.Stderr = log, log
	if c.lock != nil {
		// The server holds the lock too: the folder of one that runs is never
		// swept, not even when the caller has dropped the Postgres, and with it
		// its file.
		cmd.ExtraFiles = []*os.File{c.lock}
	}
	server, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	if err := awaitReady(ctx, server, c.ready); err != nil {
		err = fmt.Errorf("%w\n%s", err, tail(c.log()))
		return nil, errors.Join(err, server.stop(syscall.SIGQUIT))
	}
	return server, nil
}

func (c cluster) arguments(port int) []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=", // Their paths have a limit of 107 bytes.
		"max_connections=" + strconv.Itoa(c.connections),
		"timezone=UTC",
		"log_timezone=UTC",
	}
	if !c.durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	arguments := []string{"-D", c.data()}
	for _, setting := range append(settings, c.settings...) {
		arguments = append(arguments, "-c", setting)
	}
	return arguments
}

// ready reads the last line of the lock file, which the server itself writes.
// To connect instead would not tell this server from another program's that
// took the port first.
func (c cluster) ready(context.Context) error {
	const statusLine = 7
	text, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) > statusLine {
		switch strings.TrimSpace(lines[statusLine]) {
		case "ready", "standby":
			return nil
		}
	}
	return errors.New("postgres is starting")
}

// command gives the programs a folder that their user can read and no more of
// our environment than they need: PGDATA, PGPORT and their like would mislead
// them.
func (c cluster) command(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.programs, program), arguments...)
	cmd.Dir = c.folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + c.folder}
	cmd.SysProcAttr = childAttributes(c.who, syscall.SIGQUIT)
	return cmd
}
