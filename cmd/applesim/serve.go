package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"revalidator/internal/dev/applesim"
)

// shutdownTime is how long answers that are under way may take at the end.
const shutdownTime = 5 * time.Second

// run serves until the context ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	sim, err := applesim.New(o.config)
	if err != nil {
		return err
	}
	if o.writeReceipts != "" {
		if err := writeReceipts(sim, o.writeReceipts); err != nil {
			return err
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintf(stdout, "http://%s\n", listener.Addr())
	if o.printSecrets {
		for _, app := range o.config.Apps {
			for _, secret := range app.Secrets {
				fmt.Fprintf(stdout, "%s %s\n", app.BundleID, secret)
			}
		}
	}
	return serve(ctx, listener, sim.Handler())
}

// serve answers until the context ends, and then finishes what it began.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	// Requests have a context of their own, so that those that are answered
	// never are given up at the end and the others are not.
	requests, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(requests, shutdownTime)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			giveUp()
			err = server.Close()
		}
		stopped <- err
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-stopped
}

// writeReceipts writes the receipts to a file that only its owner can read, as
// befits receipts.
func writeReceipts(sim *applesim.Server, name string) (err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write receipts: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriter(file)
	if err := sim.WriteReceipts(buffered, ""); err != nil {
		return err
	}
	return buffered.Flush()
}
