// Command bench measures the program on this machine against the loop that a Go
// programmer would write in an afternoon, in the same run, and prints a table
// of ratios with the target next to each. It starts a throw-away Postgres and
// Redis, and a cheap App Store that answers canned replies in a process of its
// own. With CHECK=1 it ends with an error where a target is missed, and
// with BASE where a row is worse than in the results of another commit.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the benchmark itself, or with the name of a role one of the processes
// that it measures.
func run(ctx context.Context, args []string, getenv func(string) string) error {
	if len(args) > 0 {
		switch args[0] {
		case roleAppStore:
			return serveAppStore(ctx, args[1:])
		case roleBaseline:
			return runBaseline(ctx, args[1:])
		case roleNoop:
			return runNoop(ctx, args[1:])
		}
		return fmt.Errorf("unexpected argument %q: what is measured is chosen with ONLY, as in ONLY=small,import", args[0])
	}
	return measure(ctx, getenv)
}
