package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) receiptsRecheckCommand() *cobra.Command {
	var customer string
	c := &cobra.Command{
		Use:   "recheck (ID... | --customer REF)",
		Short: "Make receipts due now, whatever their next check was",
		Long: `Make receipts due now, whatever their next check was. The next run checks
them: the nightly one, or one that you start with 'revalidator run'. To check
one receipt at once, without storing the reply: 'revalidator check'.

A receipt that a worker checks now is not changed. Exit code 3 says that some
receipts can never be checked.`,
		Example: `  revalidator receipts recheck 42 43
  revalidator receipts recheck --customer customer-7`,
		Args: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("customer") == (len(args) > 0) {
				return errors.New("give the IDs of receipts, or --customer REF")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := receiptIDs(args)
			if err != nil {
				return terminal.Usage(err)
			}
			query := repository.ReceiptQuery{IDs: ids, Limit: maxPage}
			if c.Flags().Changed("customer") {
				query.IDs, query.CustomerRef = nil, &customer
			}
			return p.recheck(c.Context(), query)
		},
	}
	c.Flags().StringVar(&customer, "customer", "", "all receipts of the customer with the `reference`")
	p.AddJSON(c)
	return c
}

func (p *program) recheck(ctx context.Context, q repository.ReceiptQuery) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knows(ctx, q); err != nil {
			return err
		}
		found, err := parts.db.StoredReceipts(ctx, q)
		if err != nil {
			return err
		}
		if err := report.AllThere(q, found); err != nil {
			return err
		}
		now := parts.clock.Now()
		result := report.Recheck{}
		schedule, err := parts.schedule()
		if err != nil {
			return err
		}
		result.NextRunAt = schedule.NextRun(now)
		ids := make([]int64, len(found))
		for i, r := range found {
			ids[i] = r.ID
		}
		due, err := parts.db.Recheck(ctx, ids, parts.clock.DateOf(now))
		if err != nil {
			return err
		}
		never := 0
		for _, r := range found {
			done := report.NewRechecked(r, slices.Contains(due, r.ID), now)
			if done.Result == report.RecheckNever {
				never++
			}
			result.Receipts = append(result.Receipts, done)
		}
		if err := p.Print(result, recheckText(result, now)); err != nil {
			return err
		}
		if never > 0 {
			return terminal.Failures(fmt.Errorf("%d of %d receipts can never be checked: see 'revalidator explain'", never, len(found)))
		}
		return nil
	}, needDatabase)
}

func recheckText(r report.Recheck, now time.Time) func(*terminal.Page) {
	return func(out *terminal.Page) {
		s := terminal.Sheet{Page: out, Now: now, Label: 15}
		due := false
		for _, done := range r.Receipts {
			said := map[report.RecheckResult]string{
				report.RecheckDue: "due now", report.RecheckClaimed: "not changed: a worker checks it now", report.RecheckNever: "never checked",
			}[done.Result]
			s.Sentence("Receipt", "%d: %s", done.ID, said)
			for _, obstacle := range done.Obstacles {
				s.Sentence("", "%s", obstacle)
			}
			due = due || done.Result == report.RecheckDue
		}
		if due {
			s.Row("Next check", "nightly run at", phrase.TimeAgo(r.NextRunAt, now)+";", "or start one now with 'revalidator run'")
		}
	}
}
