// Command applesim runs a simulated App Store: verifyReceipt of a population
// of made-up customers, for development and load tests. Its first line on
// standard output is the address that it serves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "applesim:", err)
		stop()
		os.Exit(1)
	}
}
