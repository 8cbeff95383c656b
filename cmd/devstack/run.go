package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"revalidator/internal/dev/devstack"
	"revalidator/internal/dev/devstack/pgtest"
)

// The exit codes of devstack's own troubles, as sh and env number them.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitNotStarted = 127
	exitSignal     = 128 // plus the number of the signal
)

// program is what main passes in of the world.
type program struct {
	stdin          *os.File
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        []string
	signals        <-chan os.Signal
	install        func(ctx context.Context, output io.Writer, tools ...devstack.Tool) error
	has            func(devstack.Tool) bool
}

// run returns the exit code: that of the command, where there is one.
func (p program) run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("devstack", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	durable := flags.Bool("durable", false, "keep Postgres's fsync on, for benchmarks")
	install := flags.Bool("install", false, "install first what tests use and this machine lacks, where that can be done")
	setup := flags.Bool("setup", false, "install what this machine lacks and end; fail where something is missing")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if *install || *setup {
		err := p.install(ctx, p.stderr, tools...)
		if err != nil {
			fmt.Fprintln(p.stderr, "devstack:", err)
		}
		switch {
		case *setup && err != nil:
			return exitFailure
		case *setup:
			return 0
		}
	}
	logger := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	code, err := p.runBeside(ctx, devstack.Config{Durable: *durable, Logger: logger}, flags.Args())
	if err != nil {
		fmt.Fprintln(p.stderr, "devstack:", err)
	}
	return code
}

// runBeside starts the services, runs the command and stops the services.
func (p program) runBeside(ctx context.Context, cfg devstack.Config, command []string) (code int, err error) {
	databaseURL := p.getenv(pgtest.URLVariable)
	if databaseURL == "" {
		postgres, err := devstack.StartPostgres(ctx, cfg)
		if err != nil {
			return exitFailure, err
		}
		defer stopping(&err, postgres.Stop)
		databaseURL = postgres.URL
	}
	redis, err := devstack.StartRedis(ctx, cfg)
	if err != nil {
		return exitFailure, err
	}
	defer stopping(&err, redis.Stop)
	variables := []string{
		pgtest.URLVariable + "=" + databaseURL,
		"DATABASE_URL=" + databaseURL,
		"REDIS_URL=" + redis.URL,
	}
	if len(command) == 0 {
		return p.wait(ctx, variables)
	}
	return p.command(p.withoutRace(command), variables)
}

// tools are what all tests together use.
var tools = []devstack.Tool{devstack.ToolMake, devstack.ToolCompiler, devstack.ToolRedis, devstack.ToolPostgres, devstack.ToolChromium}

// withoutRace is the command without -race where there is no C compiler, which
// go test would fail for.
func (p program) withoutRace(command []string) []string {
	if !slices.Contains(command, "-race") || p.has(devstack.ToolCompiler) {
		return command
	}
	fmt.Fprintf(p.stderr, "devstack: no C compiler is installed: running without the race detector (-race)\n")
	return slices.DeleteFunc(slices.Clone(command), func(argument string) bool { return argument == "-race" })
}

// stopping adds the error of stop to err. The exit code stays the command's.
func stopping(err *error, stop func() error) { *err = errors.Join(*err, stop()) }

// wait prints the variables for a shell to read and waits for Ctrl-C.
func (p program) wait(ctx context.Context, variables []string) (int, error) {
	for _, variable := range variables {
		// Quoted, because a shell has uses of its own for the ? and & of a URL.
		if _, err := fmt.Fprintf(p.stdout, "export '%s'\n", variable); err != nil {
			return exitFailure, err
		}
	}
	fmt.Fprintln(p.stderr, "devstack: running until Ctrl-C")
	<-ctx.Done()
	return 0, nil
}

// withoutTime leaves the time out of a line, which a person reads as it is written.
func withoutTime(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) == 0 && attr.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attr
}
