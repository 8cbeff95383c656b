package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes, for scripts.
const (
	exitOK       = 0
	exitFailure  = 1 // it could not be done, or was interrupted
	exitUsage    = 2 // the command line or a setting is wrong
	exitFailures = 3 // it was done, and some receipts failed
)

// exitError is an error that asks for another exit code than exitFailure.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage marks an error of the command line or the settings.
func usage(err error) error { return &exitError{exitUsage, err} }

// run is the whole program but for the process around it: it returns the exit
// code. Results go to stdout; progress, logs and errors to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, environ: environ}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(stderr, "revalidator:", err)
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailure
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "revalidator",
		Short: "Keep the truth about App Store subscriptions fresh",
		Long: `revalidator asks Apple again about the App Store receipts that are due, and
writes to Postgres what has changed: renewals, lapses, refunds, recoveries.

A first set-up:
  revalidator keys generate > revalidator.keys  # then set REVALIDATOR_KEYS_FILE
  revalidator migrate                           # create the tables
  revalidator apps add com.example.reader
  revalidator secrets add --app com.example.reader
  revalidator import receipts.ndjson
  revalidator worker &                          # any number of them
  revalidator run                               # now, or leave it to the next
  revalidator scheduler

Exit codes:
  0  done
  1  it could not be done, or was interrupted
  2  the command line or a setting is wrong
  3  done, but some receipts failed or some lines were rejected`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w\nSee '%s --help'", flagError(err), c.CommandPath()))
	})
	root.PersistentFlags().BoolVarP(&p.quiet, "quiet", "q", false, "no progress and no hints, only results and errors")
	root.AddCommand(
		p.migrateCommand(), p.appsCommand(), p.secretsCommand(), p.keysCommand(), p.importCommand(),
		p.schedulerCommand(), p.workerCommand(), p.queueCommand(), p.runCommand(), p.backfillCommand(), p.statusCommand(), p.reportCommand(), p.forecastCommand(), p.doctorCommand(), p.uiCommand(),
		p.checkCommand(), p.explainCommand(), p.receiptsCommand(), p.eventsCommand(),
		p.versionCommand(), settingsTopic(),
	)
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	addHelp(root)
	finish(root)
	return root
}
