package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"revalidator/internal/dev/devstack"
)

// demo is one showing. Everything that it starts ends before run returns.
type demo struct {
	stdout, stderr *os.File
	getenv         func(string) string
	customers      int

	folder string // of programs, receipts and logs
	env    []string
	store  *appStore
}

// monthBack is how far back the simulated App Store starts, so that a month of
// renewals, lapses and refunds lies between the two runs.
const monthBack = 30 * 24 * time.Hour

// run is the story of the demo.
func (d *demo) run(ctx context.Context) (err error) {
	d.folder, err = os.MkdirTemp("", "revalidator-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.folder)) }()

	d.say("Building the programs, starting Postgres, Redis and a simulated App Store …")
	if err := d.build(ctx, "revalidator", "applesim"); err != nil {
		return err
	}
	postgres, err := devstack.StartPostgres(ctx, d.services())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	redis, err := devstack.StartRedis(ctx, d.services())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Stop()) }()
	d.store, err = d.startAppStore(ctx)
	if err != nil {
		return err
	}
	defer d.store.stop()
	if err := d.settings(ctx, postgres.URL, redis.URL); err != nil {
		return err
	}
	d.say("DATABASE_URL=%s", postgres.URL)
	d.say("REDIS_URL=%s", redis.URL)

	if err := d.setUp(ctx); err != nil {
		return err
	}
	worker, err := d.start(ctx, "worker.log", "revalidator", "worker")
	if err != nil {
		return err
	}
	defer worker.stop()
	if err := d.nights(ctx); err != nil {
		return err
	}
	if d.getenv("ONCE") != "" {
		return nil
	}
	return d.showPages(ctx, postgres.URL)
}

// nights runs the first run a month ago, and tonight's.
func (d *demo) nights(ctx context.Context) error {
	d.say("\nA month ago: the first run learns what the receipts are worth.")
	if err := d.show(ctx, "run"); err != nil {
		return err
	}
	if err := d.store.advance(ctx, monthBack); err != nil {
		return err
	}
	d.say("\nTonight, after 30 days in the App Store: the run asks about what is due.")
	if err := d.show(ctx, "run"); err != nil {
		return err
	}
	return d.show(ctx, "status")
}

// setUp is what a person does first, command by command.
func (d *demo) setUp(ctx context.Context) error {
	if err := d.show(ctx, "migrate"); err != nil {
		return err
	}
	for _, app := range d.store.apps() {
		if err := d.show(ctx, "apps", "add", app.bundleID, "--rate", "300", "--burst", "10"); err != nil {
			return err
		}
		file := filepath.Join(d.folder, app.bundleID+".secret")
		if err := os.WriteFile(file, []byte(app.secret+"\n"), 0o600); err != nil {
			return err
		}
		if err := d.show(ctx, "secrets", "add", "--app", app.bundleID, "--file", file); err != nil {
			return err
		}
	}
	receipts := filepath.Join(d.folder, "receipts.ndjson")
	if err := d.store.writeReceipts(ctx, receipts); err != nil {
		return err
	}
	return d.show(ctx, "import", receipts)
}

// showPages serves the web UI until ctx ends.
func (d *demo) showPages(ctx context.Context, databaseURL string) error {
	addr, err := d.uiAddr()
	if err != nil {
		return err
	}
	pages, err := d.start(ctx, "ui.log", "revalidator", "ui", "--addr", addr)
	if err != nil {
		return err
	}
	defer pages.stop()
	d.say("\nThe queue in asynq's web UI:  http://%s", addr)
	d.say("The result in Postgres:       psql '%s' -c 'SELECT status, count(*) FROM subscriptions GROUP BY 1'", databaseURL)
	d.say("Ctrl-C ends the demo and removes everything.")
	select {
	case <-ctx.Done():
	case <-pages.ended:
		return fmt.Errorf("the web UI ended: see %s", pages.log)
	}
	return nil
}

// uiAddr is REVALIDATOR_UI_ADDR, or a free port of this machine.
func (d *demo) uiAddr() (string, error) {
	if addr := d.getenv("REVALIDATOR_UI_ADDR"); addr != "" {
		return addr, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

// settings makes the environment of the programs: this process's, without
// settings of revalidator that a person may have, and the demo's own.
func (d *demo) settings(ctx context.Context, databaseURL, redisURL string) error {
	keyset, err := d.output(ctx, "revalidator", "keys", "generate")
	if err != nil {
		return err
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "REVALIDATOR_") && !strings.HasPrefix(name, "DATABASE_URL") && !strings.HasPrefix(name, "REDIS_URL") {
			d.env = append(d.env, variable)
		}
	}
	d.env = append(d.env,
		"DATABASE_URL="+databaseURL,
		"REDIS_URL="+redisURL,
		"REVALIDATOR_KEYS="+keyset,
		"REVALIDATOR_APPLE_PRODUCTION_URL="+d.store.url+"/production/verifyReceipt",
		"REVALIDATOR_APPLE_SANDBOX_URL="+d.store.url+"/sandbox/verifyReceipt",
		"REVALIDATOR_CLOCK_URL="+d.store.url+"/control/clock",
		"REVALIDATOR_RETRY_BASE=1s", // the App Store of the demo recovers quickly
	)
	return nil
}

func (d *demo) services() devstack.Config {
	return devstack.Config{Logger: slog.New(slog.NewTextHandler(d.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }
