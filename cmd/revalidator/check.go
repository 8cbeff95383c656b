package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/check"
	"revalidator/internal/iap"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
)

// checkOptions are the arguments and flags of check.
type checkOptions struct {
	file        string
	receiptID   int64
	reply       bool
	app         string
	secretFile  string
	secrets     []secret.Value // from secretFile, once it was read
	environment iap.Environment
}

func (p *program) checkCommand() *cobra.Command {
	var o checkOptions
	var environment string
	c := &cobra.Command{
		Use:   "check (FILE | - | --receipt ID) [flags]",
		Short: "Say what one receipt is, and what Apple says about it",
		Long: `Say what one receipt is, and what Apple says about it. FILE holds a receipt in
base64, as DER, or in the style of iOS 6; - is standard input; --receipt takes
one from the database. What the receipt says of itself is read here, then Apple
is asked once, at the app's rate where the database knows the app. Nothing is
stored.

The shared secret is that of --secret-file, else those in the database where
DATABASE_URL and REVALIDATOR_KEYS are set, else a terminal prompts for it.
Without one, only what the receipt says of itself is shown.

A saved reply of verifyReceipt is read with --reply, and Apple is not asked.

Exit codes:
  0  Apple accepted the receipt
  1  it cannot be read, or Apple could not be reached
  3  Apple refused it, or was not asked; standard error says why`,
		Example: `  revalidator check receipt.txt
  revalidator check receipt.der --app com.example.reader --secret-file secret
  revalidator check --receipt 42
  pbpaste | revalidator check -
  revalidator check --reply reply.json --json`,
		Args: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("receipt") {
				if o.receiptID < 1 {
					return fmt.Errorf("--receipt %d: the id of a receipt is a number from 1, see 'revalidator receipts list'", o.receiptID)
				}
				return terminal.NoArguments(c, args)
			}
			return terminal.OneArgument("FILE or --receipt ID")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.file = strings.Join(args, "")
			var err error
			if o.environment, err = environmentNamed(environment); err != nil {
				return terminal.Usage(err)
			}
			return p.check(c.Context(), o)
		},
	}
	c.Flags().Int64Var(&o.receiptID, "receipt", 0, "check the stored receipt with the `id`")
	c.Flags().BoolVar(&o.reply, "reply", false, "FILE is a saved reply of verifyReceipt")
	c.Flags().StringVar(&o.app, "app", "", "the app that it must be of, by `bundle id` (default: the one it names)")
	c.Flags().StringVar(&o.secretFile, "secret-file", "", "read the shared secret from `file`; - is standard input")
	c.Flags().StringVar(&environment, "environment", "", "the `environment` to ask first: Production or Sandbox (default: the one the receipt names)")
	p.AddJSON(c)
	return c
}

// environmentNamed is the environment of a name, in whatever case.
func environmentNamed(name string) (iap.Environment, error) {
	for _, e := range []iap.Environment{"", iap.Production, iap.Sandbox} {
		if strings.EqualFold(name, string(e)) {
			return e, nil
		}
	}
	return "", fmt.Errorf("--environment: %w", iap.Environment(name).Validate())
}

func (o checkOptions) validate() error {
	switch {
	case o.file == "-" && o.secretFile == "-":
		return errors.New("standard input holds the receipt or the secret, not both: give one of them as a file")
	case o.receiptID != 0 && o.reply:
		return errors.New("--reply reads a saved reply from a file, --receipt a receipt from the database: give one of them")
	}
	return nil
}

// check finds out what there is to know, prints it, and returns the verdict.
func (p *program) check(ctx context.Context, o checkOptions) error {
	if err := o.validate(); err != nil {
		return terminal.Usage(err)
	}
	parts, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer parts.close()
	if o.secretFile != "" {
		value, err := p.readSecret(ctx, o.secretFile)
		if err != nil {
			return err
		}
		o.secrets = []secret.Value{value}
	}
	subject, err := p.checkSubject(ctx, parts, o)
	if err != nil {
		return err
	}
	now := parts.clock.AppleTime()
	var report check.Report
	if subject.Reply != nil {
		report, err = subject.Reply.Report(o.app, now)
	} else {
		report, err = p.checkReceipt(ctx, parts, o, subject)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(p.Print(report, func(out *terminal.Page) { checkText(out, report, now) }), verdict(err))
}
