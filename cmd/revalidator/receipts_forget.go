package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/terminal"
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
and cannot be taken back. The result of a worker that checks one of them at
this moment is not stored.

What another customer's receipt shows too, as in a family, stays.`,
		Example: `  revalidator receipts forget --customer customer-7
  revalidator receipts forget --customer customer-7 --yes --json`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("customer") {
				return terminal.Usage(errors.New("name the customer with --customer REF"))
			}
			return p.forget(c.Context(), customer, app, yes)
		},
	}
	c.Flags().StringVar(&customer, "customer", "", "the customer's `reference`")
	c.Flags().StringVar(&app, "app", "", "only the receipts of the app with the `bundle id`")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	p.AddJSON(c)
	return c
}

func (p *program) forget(ctx context.Context, customer, app string, yes bool) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knows(ctx, repository.ReceiptQuery{BundleID: app, CustomerRef: &customer}); err != nil {
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
			if err := p.Confirm(ctx, question, "remove", "removed"); err != nil {
				return err
			}
		}
		allApps, err := parts.db.Apps(ctx)
		if err != nil {
			return err
		}
		policy, err := parts.policy()
		if err != nil {
			return err
		}
		gone, err := parts.db.Forget(ctx, customer, app, apps.Policies(allApps, policy), parts.clock.AppleTime())
		if err != nil {
			return err
		}
		return p.Print(gone, func(out *terminal.Page) { forgottenText(out, gone) })
	}, needDatabase)
}

func forgottenText(out *terminal.Page, f repository.Forgotten) {
	out.Print("Removed:\n")
	table := out.Figures()
	row := func(n int64, what string) { table.Row("  %d\t %s", n, what) }
	row(f.Receipts, "receipts")
	row(f.Bytes, "bytes of them")
	row(f.Links, "links to subscriptions")
	row(f.Subscriptions, "subscriptions")
	row(f.Purchases, "one-time purchases")
	row(f.Events, "events")
	row(f.RunItems, "places in backfills")
	table.End()
	if f.Kept > 0 {
		out.Printf("Kept: %d subscriptions and purchases that another customer's receipt shows too.\n", f.Kept)
	}
}
