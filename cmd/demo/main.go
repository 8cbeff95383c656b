// Command demo shows a night of revalidator on one machine, with nothing to set
// up: it starts a throw-away Postgres and Redis and a simulated App Store,
// imports the receipts of its customers, lets 30 days go by in the App Store,
// runs tonight's run, prints what changed, and leaves the web UI up until
// Ctrl-C, which removes everything. With ONCE=1 it ends after the summary.
//
// The programs that it shows are the real ones, built and run as processes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"revalidator/internal/dev/devstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := devstack.Install(ctx, os.Stderr, devstack.ToolPostgres, devstack.ToolRedis); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	d := demo{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, customers: 3000}
	if err := d.run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
