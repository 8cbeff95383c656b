package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/internal/phrase"
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

// receiptPage is a page of receipts in JSON.
type receiptPage struct {
	Receipts []repository.StoredReceipt `json:"receipts"`
	// NextAfter is what to give to --after for the next page, nil on the last.
	NextAfter *int64 `json:"next_after"`
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
	parts, err := p.open(ctx, needDatabase)
	if err != nil {
		return err
	}
	defer parts.close()
	if err := parts.knowsApps(ctx, q.BundleID); err != nil {
		return err
	}
	limit := q.Limit
	q.Limit++ // one more tells whether there is a next page
	found, err := parts.db.StoredReceipts(ctx, q)
	if err != nil {
		return err
	}
	var page receiptPage
	page.Receipts, page.NextAfter = onePage(found, limit, func(r repository.StoredReceipt) int64 { return r.ID })
	if err := p.Print(page, page.text); err != nil {
		return err
	}
	switch {
	case len(page.Receipts) == 0:
		p.Note("no receipts: import some with 'revalidator import FILE', or choose others")
	case page.NextAfter != nil:
		p.Note("there are more: go on with --after %d", *page.NextAfter)
	}
	return nil
}

// onePage is up to limit of what was found, and the id after which the next page
// begins: nil where nothing is left.
func onePage[T any](found []T, limit int, id func(T) int64) (page []T, nextAfter *int64) {
	page = list(found)
	if len(page) > limit {
		page = page[:limit]
		nextAfter = new(id(page[limit-1]))
	}
	return page, nextAfter
}

// orNever is the time of a next look in a column of a table.
func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format("01-02 15:04")
}

func (l receiptPage) text(out *terminal.Page) {
	if len(l.Receipts) == 0 {
		return
	}
	table := out.Table()
	table.Row("ID\tAPP\tCUSTOMER\tSTATE\tNEXT (UTC)")
	for _, r := range l.Receipts {
		table.Row("%d\t%s\t%s\t%s\t%s", r.ID, terminal.Short(r.BundleID, 22), terminal.Short(r.CustomerRef, 18), terminal.Short(phrase.Words(string(r.State)), 17), orNever(r.NextCheckAt))
	}
	table.End()
}

// receiptDetails is a stored receipt and what it shows, in JSON.
type receiptDetails struct {
	Receipt       repository.StoredReceipt `json:"receipt"`
	Subscriptions []subscriptionReport     `json:"subscriptions"`
	Purchases     []iap.Purchase           `json:"purchases"`
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
	parts, err := p.open(ctx, needDatabase)
	if err != nil {
		return err
	}
	defer parts.close()
	r, err := parts.db.StoredReceipt(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return fmt.Errorf("no receipt %d: see 'revalidator receipts list'", id)
	}
	if err != nil {
		return err
	}
	subscriptions, err := parts.db.SubscriptionsOf(ctx, []int64{id}, "", "")
	if err != nil {
		return err
	}
	purchases, err := parts.db.PurchasesOf(ctx, []int64{id}, "", "", maxExplainPurchases)
	if err != nil {
		return err
	}
	details := receiptDetails{r, subscriptionReports(subscriptions), append([]iap.Purchase{}, purchases...)}
	return p.Print(details, details.text(parts.now(), parts.appleTime()))
}

func (d receiptDetails) text(now, appleTime time.Time) func(*terminal.Page) {
	return func(out *terminal.Page) {
		receiptText(out, explainReceipt(d.Receipt, now), appleTime)
		s := terminal.Sheet{Page: out, Now: appleTime, Indent: 2, Label: 15}
		s.Sentence("Size", "%d bytes", d.Receipt.ByteSize)
		s.Row("SHA-256", d.Receipt.SHA256)
		holdings(out, d.Subscriptions, d.Purchases, appleTime)
	}
}

// receiptIDs reads the ids of receipts.
func receiptIDs(args []string) ([]int64, error) {
	ids := make([]int64, len(args))
	for i, arg := range args {
		id, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64)
		if err != nil || id < 1 {
			return nil, fmt.Errorf("%q is no id of a receipt, which is a number: see 'revalidator receipts list'", arg)
		}
		ids[i] = id
	}
	return ids, nil
}
