package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) appsRemoveCommand() *cobra.Command {
	var withReceipts, yes bool
	c := &cobra.Command{
		Use:   "remove BUNDLE_ID [--with-receipts] [--yes] [--json]",
		Short: "Remove an app with its shared secrets, or its receipts too",
		Long: `Remove an app and its shared secrets. While it has receipts that is refused,
unless --with-receipts removes them too, with everything derived from them, as
'receipts forget' does for each of its customers in turn. That cannot be undone.
A removal that was interrupted is continued by the same command.

Pause the app first where it has many receipts: none of them is checked then.`,
		Example: `  revalidator apps remove com.example.reader
  revalidator apps remove com.example.reader --with-receipts`,
		Args: terminal.OneArgument("BUNDLE_ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return p.removeApp(c.Context(), args[0], withReceipts, yes)
		},
	}
	c.Flags().BoolVar(&withReceipts, "with-receipts", false, "remove the app's receipts and all that is derived from them")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	p.AddJSON(c)
	return c
}

// removedApp is the JSON of apps remove.
type removedApp struct {
	BundleID string `json:"bundle_id"`
	Receipts int64  `json:"receipts"`
}

func (p *program) removeApp(ctx context.Context, bundleID string, withReceipts, yes bool) error {
	return p.with(ctx, func(parts *parts) error {
		all, err := parts.db.Apps(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(a apps.App) bool { return a.BundleID == bundleID }) {
			return fmt.Errorf("no app %s: see 'revalidator apps list'", bundleID)
		}
		if !yes && withReceipts {
			question := fmt.Sprintf("Remove app %s with all of its receipts and all that is derived from them?", bundleID)
			if err := p.Confirm(ctx, question, "remove", "removed"); err != nil {
				return err
			}
		}
		removed := removedApp{BundleID: bundleID}
		if withReceipts {
			policy, err := parts.policy()
			if err != nil {
				return err
			}
			if removed.Receipts, err = parts.forgetApp(ctx, bundleID, apps.Policies(all, policy)); err != nil {
				return fmt.Errorf("%w: %d receipts are removed, run it again for the rest", err, removed.Receipts)
			}
		}
		if err := parts.db.RemoveApp(ctx, bundleID); err != nil {
			if errors.Is(err, database.ErrConflict) {
				return fmt.Errorf("app %s has receipts: nothing was removed; --with-receipts removes them too", bundleID)
			}
			return err
		}
		return p.Print(removed, func(out *terminal.Page) {
			out.Printf("app %s removed, and %d of its receipts\n", bundleID, removed.Receipts)
		})
	}, needDatabase)
}

// forgetApp removes the receipts of an app, a customer at a time, and says how many.
func (s *parts) forgetApp(ctx context.Context, bundleID string, policies func(string) iap.Policy) (removed int64, err error) {
	for after := int64(0); ; {
		page, err := s.db.StoredReceipts(ctx, repository.ReceiptQuery{BundleID: bundleID, After: after, Limit: maxPage})
		if err != nil || len(page) == 0 {
			return removed, err
		}
		for _, r := range page {
			gone, err := s.db.Forget(ctx, r.CustomerRef, bundleID, policies, s.clock.AppleTime())
			if err != nil {
				return removed, err
			}
			removed += gone.Receipts
			after = r.ID
		}
	}
}
