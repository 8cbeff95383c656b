// Command devstack runs another command next to a throw-away Postgres and a
// throw-away Redis, whose URLs it finds in its environment:
//
//	devstack [--durable] [--install] -- go test ./...
//
// Without a command it prints the URLs as export lines and waits for Ctrl-C.
// With --setup it only installs what this machine lacks.
// How the servers are found and started is left to internal/dev/devstack.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"revalidator/internal/dev/devstack"
)

func main() {
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	// The context ends a start or a wait; a running command gets the signals
	// themselves and decides.
	ctx, stop := signal.NotifyContext(context.Background(), stops...)
	defer stop()
	signals := make(chan os.Signal, len(stops))
	signal.Notify(signals, stops...)
	program := program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ(), signals: signals,
		install: devstack.Install, has: devstack.Tool.Installed,
	}
	os.Exit(program.run(ctx, os.Args[1:]))
}
