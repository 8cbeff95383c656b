package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) receiptsCommand() *cobra.Command {
	receipts := &cobra.Command{
		Use:     "receipts",
		Short:   "List, show, recheck, release and forget stored receipts",
		Example: "  revalidator receipts quarantined\n  revalidator receipts recheck 42",
	}
	receipts.AddCommand(p.receiptsListCommand(), p.receiptsShowCommand(), p.receiptsRecheckCommand(),
		p.receiptsQuarantinedCommand(), p.receiptsReleaseCommand(), p.receiptsForgetCommand())
	return receipts
}

func (p *program) receiptsListCommand() *cobra.Command {
	var query repository.ReceiptQuery
	var state, customer string
	c := &cobra.Command{
		Use:   "list [flags]",
		Short: "List stored receipts, in the order of their ids",
		Example: `  revalidator receipts list --customer customer-7
  revalidator receipts list --app com.example.reader --state wrong_app --json
  revalidator receipts list --after 50`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			query.State = iap.ReceiptState(state)
			if c.Flags().Changed("customer") {
				query.CustomerRef = &customer
			}
			if state != "" && query.State.Validate() != nil {
				return terminal.Usage(fmt.Errorf("--state: %w", query.State.Validate()))
			}
			if query.Limit < 1 || query.Limit > maxPage {
				return terminal.Usage(fmt.Errorf("--limit must be from 1 to %d", maxPage))
			}
			return p.listReceipts(c.Context(), query)
		},
	}
	c.Flags().StringVar(&query.BundleID, "app", "", "only of the app with the `bundle id`")
	c.Flags().StringVar(&state, "state", "", "only in the `state`, such as valid or quarantined")
	c.Flags().StringVar(&customer, "customer", "", "only of the customer with the `reference`")
	c.Flags().IntVar(&query.Limit, "limit", 50, "the most `receipts` to list")
	c.Flags().Int64Var(&query.After, "after", 0, "only receipts after the one with the `id`: the next page")
	p.AddJSON(c)
	return c
}

// maxPage is the longest page of receipts, which is held in memory.
const maxPage = 10_000

func (p *program) listReceipts(ctx context.Context, q repository.ReceiptQuery) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knowsApps(ctx, q.BundleID); err != nil {
			return err
		}
		page, err := report.ReadReceipts(ctx, parts.db, q)
		if err != nil {
			return err
		}
		if err := terminal.Show(&p.Terminal, page, receiptsTable); err != nil {
			return err
		}
		switch {
		case len(page.Receipts) == 0:
			p.Note("no receipts: import some with 'revalidator import FILE', or choose others")
		case page.NextAfter != nil:
			p.Note("there are more: continue with --after %d", *page.NextAfter)
		}
		return nil
	}, needDatabase)
}

// orNever is the time of a next check in a column of a table.
func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return phrase.Time(*t)
}

func receiptsTable(out *terminal.Page, l report.ReceiptPage) {
	if len(l.Receipts) == 0 {
		return
	}
	table := out.Table().Cut(1, 2, 3).Spare(4)
	table.Row("ID\tAPP\tCUSTOMER\tSTATE\tNEXT CHECK")
	for _, r := range l.Receipts {
		table.Row("%d\t%s\t%s\t%s\t%s", r.ID, r.BundleID, r.CustomerRef, phrase.Words(string(r.State)), orNever(r.NextCheckAt))
	}
	table.End()
}

func (p *program) receiptsShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a stored receipt and what it shows",
		Example: "  revalidator receipts show 42",
		Args:    terminal.OneArgument("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := receiptIDs(args)
			if err != nil {
				return terminal.Usage(err)
			}
			return p.showReceipt(c.Context(), ids[0])
		},
	}
	p.AddJSON(c)
	return c
}

func (p *program) showReceipt(ctx context.Context, id int64) error {
	return p.with(ctx, func(parts *parts) error {
		details, err := report.ReadReceipt(ctx, parts.db, id)
		if err != nil {
			return err
		}
		return p.Print(details, func(out *terminal.Page) { receiptDetailsText(out, details, parts.clock.Now(), parts.clock.AppleTime()) })
	}, needDatabase)
}

func receiptDetailsText(out *terminal.Page, d report.ReceiptDetails, now, appleTime time.Time) {
	receiptText(out, report.ExplainReceipt(d.Receipt, now), appleTime)
	s := terminal.Sheet{Page: out, Now: appleTime, Indent: 2, Label: 15}
	s.Sentence("Size", "%d bytes", d.Receipt.ByteSize)
	s.Row("SHA-256", d.Receipt.SHA256)
	holdings(out, d.Subscriptions, d.Purchases, appleTime)
}

// receiptIDs reads the ids of receipts.
func receiptIDs(args []string) ([]int64, error) {
	ids := make([]int64, len(args))
	for i, arg := range args {
		id, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64)
		if err != nil || id < 1 {
			return nil, fmt.Errorf("%q is not the id of a receipt, which is a number: see 'revalidator receipts list'", arg)
		}
		ids[i] = id
	}
	return ids, nil
}
