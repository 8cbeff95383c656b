package main

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
	"revalidator/worker"
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
	var state, class, customer string
	var due bool
	c := &cobra.Command{
		Use:   "list [flags]",
		Short: "List stored receipts, in the order of their ids",
		Long: `List stored receipts, in the order of their ids: those that all of the flags
choose. --run chooses the receipts that are in a run, waiting or claimed, and
those whose last check failed in it; with --failed, only the latter.`,
		Example: `  revalidator receipts list --customer customer-7
  revalidator receipts list --failed --run 7
  revalidator receipts list --app com.example.reader --last-class timeout --json
  revalidator receipts list --due --after 50`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("customer") {
				query.CustomerRef = &customer
			}
			if err := choose(&query, state, class, c.Flags().Changed("run")); err != nil {
				return terminal.Usage(err)
			}
			return p.listReceipts(c.Context(), query, due)
		},
	}
	c.Flags().StringVar(&query.BundleID, "app", "", "only of the app with the `bundle id`")
	c.Flags().StringVar(&state, "state", "", "only in the `state`, such as valid or quarantined")
	c.Flags().StringVar(&customer, "customer", "", "only of the customer with the `reference`")
	c.Flags().BoolVar(&query.Failed, "failed", false, "only those whose last check failed")
	c.Flags().StringVar(&class, "last-class", "", "only those whose last check failed with the failure `class`, such as timeout")
	c.Flags().Int64Var(&query.RunID, "run", 0, "only those that are in the run with the `number`, or failed in it")
	c.Flags().BoolVar(&due, "due", false, "only those that are due now and not claimed")
	c.Flags().BoolVar(&query.Quarantined, "quarantined", false, "only those that are quarantined")
	c.Flags().IntVar(&query.Limit, "limit", 50, "the most `receipts` to list")
	c.Flags().Int64Var(&query.After, "after", 0, "only receipts after the one with the `id`: the next page")
	p.AddJSON(c)
	return c
}

// choose adds to a query what must be one of several values.
func choose(query *repository.ReceiptQuery, state, class string, inRun bool) error {
	if state != "" {
		states, err := terminal.OneOf("--state", []string{state}, iap.ReceiptStates())
		if err != nil {
			return err
		}
		query.State = states[0]
	}
	if class != "" {
		if _, err := terminal.OneOf("--last-class", []string{class}, worker.FailureClasses()); err != nil {
			return err
		}
		query.LastClass = class
	}
	switch {
	case inRun && query.RunID < 1:
		return fmt.Errorf("--run %d: want the number of a run, see 'revalidator status'", query.RunID)
	case query.Limit < 1 || query.Limit > maxPage:
		return fmt.Errorf("--limit must be from 1 to %d", maxPage)
	}
	return nil
}

// maxPage is the longest page of receipts, which is held in memory.
const maxPage = 10_000

func (p *program) listReceipts(ctx context.Context, q repository.ReceiptQuery, due bool) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knows(ctx, q); err != nil {
			return err
		}
		if due {
			q.DueAt = parts.clock.AppleTime()
		}
		page, err := report.ReadReceipts(ctx, parts.db, q)
		if err != nil {
			return err
		}
		table := func(out *terminal.Page, l report.ReceiptPage) { receiptsTable(out, l, q.Failed || q.LastClass != "") }
		if err := terminal.Show(&p.Terminal, page, table); err != nil {
			return err
		}
		switch {
		case len(page.Receipts) == 0 && choosesAll(q):
			p.Note("no receipts yet: import some with 'revalidator import FILE'")
		case len(page.Receipts) == 0:
			p.Note("no receipts that all of the flags choose")
		case page.NextAfter != nil:
			p.Note("there are more: continue with --after %d", *page.NextAfter)
		}
		return nil
	}, needDatabase)
}

// choosesAll is whether a query is for every receipt.
func choosesAll(q repository.ReceiptQuery) bool {
	q.Limit = 0
	return reflect.ValueOf(q).IsZero()
}

// orNever is the time of a next check in a column of a table.
func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return phrase.Time(*t)
}

// receiptsTable has the state of each receipt, or the failure of its last check.
func receiptsTable(out *terminal.Page, l report.ReceiptPage, failures bool) {
	if len(l.Receipts) == 0 {
		return
	}
	table := out.Table().Cut(1, 2, 3).Spare(4)
	what := "STATE"
	if failures {
		what = "FAILURE"
	}
	table.Row("ID\tAPP\tCUSTOMER\t%s\tNEXT CHECK", what)
	for _, r := range l.Receipts {
		said := string(r.State)
		if failures {
			said = "reply not believed"
			if r.LastError != nil {
				said = *r.LastError
			}
		}
		table.Row("%d\t%s\t%s\t%s\t%s", r.ID, r.BundleID, r.CustomerRef, phrase.Words(said), orNever(r.NextCheckAt))
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
