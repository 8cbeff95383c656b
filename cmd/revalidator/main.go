// Command revalidator keeps the truth about App Store subscriptions fresh: it
// checks the receipts that are due, and writes to Postgres what
// has changed. Each of its subcommands is one file here: it reads its flags, opens
// parts (program.go, parts.go, wire.go), asks internal/report or changes something,
// and prints the result by internal/terminal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // a container may have no time zones, and the schedule needs them
)

func main() {
	ctx := interruption(time.Second)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// interruption is a context that ends with the first signal to stop. A later one
// kills, for whoever does not want to wait for the end. One within the pause is
// the same wish: timeout(1) signals the process, and then its group.
func interruption(pause time.Duration) context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(pause, stop) })
	return ctx
}
