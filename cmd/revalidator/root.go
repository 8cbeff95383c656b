package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"revalidator/internal/terminal"

	"github.com/spf13/cobra"
)

// run is the whole program but for the process around it: it returns the exit
// code. Results go to stdout; progress, logs and errors to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	p := &program{Terminal: terminal.Terminal{In: stdin, Out: stdout, Err: stderr}, environ: environ}
	p.NoColor = p.isSet("NO_COLOR")
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return terminal.ExitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(stderr, "revalidator:", err)
	return terminal.ExitCode(err)
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "revalidator",
		Short: "Keep the truth about App Store subscriptions fresh",
		Long: `revalidator checks the App Store receipts that are due with Apple, and
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
	root.PersistentFlags().BoolVarP(&p.Quiet, "quiet", "q", false, "no progress and no hints, only results and errors")
	root.AddCommand(
		p.migrateCommand(), p.appsCommand(), p.secretsCommand(), p.keysCommand(), p.importCommand(),
		p.schedulerCommand(), p.workerCommand(), p.queueCommand(), p.runCommand(), p.backfillCommand(), p.statusCommand(), p.reportCommand(), p.forecastCommand(), p.doctorCommand(), p.uiCommand(),
		p.checkCommand(), p.explainCommand(), p.receiptsCommand(), p.eventsCommand(),
		p.versionCommand(), settingsTopic(),
	)
	terminal.Finish(root)
	return root
}
