package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"revalidator/repository"
)

func (p *program) receiptsForgetCommand() *cobra.Command {
	var customer, app string
	var yes bool
	c := &cobra.Command{
		Use:   "forget --customer REF [--app BUNDLE_ID] [--yes]",
		Short: "Remove a customer's receipts and everything derived from them",
		Long: `Remove a customer's receipts and everything derived from them: their bytes, the
subscriptions and purchases that no other customer's receipt shows, the events
of those, and their places in backfills. It is done as a whole or not at all,
and cannot be taken back. A worker that asks about one of them at this moment
changes nothing any more.

What another customer's receipt shows too, as in a family, stays.`,
		Example: `  revalidator receipts forget --customer customer-7
  revalidator receipts forget --customer customer-7 --yes --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("customer") {
				return usage(errors.New("name the customer with --customer REF"))
			}
			return p.forget(c.Context(), customer, app, yes)
		},
	}
	c.Flags().StringVar(&customer, "customer", "", "the customer's `reference`")
	c.Flags().StringVar(&app, "app", "", "only the receipts of the app with the `bundle id`")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	p.addOutputFlag(c)
	return c
}

func (p *program) forget(ctx context.Context, customer, app string, yes bool) error {
	parts, err := p.open(ctx, needDatabase)
	if err != nil {
		return err
	}
	defer parts.close()
	if err := parts.knowsApps(ctx, app); err != nil {
		return err
	}
	found, err := parts.db.StoredReceipts(ctx, repository.ReceiptQuery{BundleID: app, CustomerRef: &customer, Limit: maxPage})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no receipts of customer %q: nothing was removed; see 'revalidator receipts list'", customer)
	}
	if !yes {
		question := fmt.Sprintf("Remove %d receipts of customer %q and all that is derived from them?", len(found), customer)
		if err := p.confirmed(ctx, question, "remove", "removed"); err != nil {
			return err
		}
	}
	apps, err := parts.db.Apps(ctx)
	if err != nil {
		return err
	}
	policy, err := parts.policy()
	if err != nil {
		return err
	}
	gone, err := parts.db.Forget(ctx, customer, app, policyOf(apps, policy), parts.appleTime())
	if err != nil {
		return err
	}
	return p.printer().print(gone, func(out io.Writer) error { return forgottenText(out, gone) })
}

// confirmed asks a person on the terminal, and is an error for everything but
// a clear yes. Where nobody can be asked, --yes must have been given. act and acted
// say in the error what was not done.
func (p *program) confirmed(ctx context.Context, question, act, acted string) error {
	if !isTerminal(p.stdin) {
		return usage(fmt.Errorf("standard input is no terminal to ask on: say --yes to %s without being asked", act))
	}
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	answers := make(chan string, 1)
	// Nothing can end a read from a terminal, so after an interruption this
	// goroutine stays until the process ends.
	go func() {
		line, _ := bufio.NewReader(p.stdin).ReadString('\n') // an end is a no
		answers <- line
	}()
	select {
	case line := <-answers:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return fmt.Errorf("nothing was %s", acted)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func forgottenText(out io.Writer, f repository.Forgotten) error {
	fmt.Fprintln(out, "Removed:")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n int64, what string) { fmt.Fprintf(table, "  %d\t %s\n", n, what) }
	row(f.Receipts, "receipts")
	row(f.Bytes, "bytes of them")
	row(f.Links, "links to subscriptions")
	row(f.Subscriptions, "subscriptions")
	row(f.Purchases, "one-time purchases")
	row(f.Events, "events")
	row(f.RunItems, "places in backfills")
	if err := table.Flush(); err != nil {
		return err
	}
	if f.Kept > 0 {
		fmt.Fprintf(out, "Kept: %d subscriptions and purchases that another customer's receipt shows too.\n", f.Kept)
	}
	return nil
}
