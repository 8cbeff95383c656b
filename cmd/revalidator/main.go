// Command revalidator keeps the truth about App Store subscriptions fresh: it
// asks Apple again about the receipts that are due, and writes to Postgres what
// has changed. Each of its subcommands is one file here; the wiring of the
// parts is in wire.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // a container may have no time zones, and the schedule needs them
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal kills, for whoever does not want to wait for the end.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
