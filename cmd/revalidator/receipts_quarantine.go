package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/phrase"
	"revalidator/internal/quarantine"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) receiptsQuarantinedCommand() *cobra.Command {
	var query repository.QuarantineQuery
	var since string
	c := &cobra.Command{
		Use:   "quarantined [flags]",
		Short: "List the receipts that are quarantined, and why",
		Long: `List the receipts that are quarantined, with the reason: how many of each app
first, then each of them. They are not checked any more, or once a week. One
reply is never enough, unless the receipt is forged: refused by Apple, with a
signature that is disproved. Where Apple accepted the receipt before, it takes
three failures or more, on different days. docs/quarantine.md has the whole
table.

The reasons are:
` + terminal.Wrap(2, quarantine.Reasons()...) + `
'revalidator explain' says more about each receipt.`,
		Example: `  revalidator receipts quarantined
  revalidator receipts quarantined --reason panicked --json
  revalidator receipts quarantined --app com.example.reader --after 50`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if query.Limit < 1 || query.Limit > maxPage {
				return terminal.Usage(fmt.Errorf("--limit must be from 1 to %d", maxPage))
			}
			if err := knownReason(query.Reason); err != nil {
				return terminal.Usage(err)
			}
			var err error
			if query.Since, err = terminal.TimeOrAgo("--since", since, time.Now()); err != nil {
				return terminal.Usage(err)
			}
			return p.quarantined(c.Context(), query)
		},
	}
	c.Flags().StringVar(&query.BundleID, "app", "", "only of the app with the `bundle id`")
	c.Flags().StringVar(&query.Reason, "reason", "", "only those quarantined for the `reason`")
	c.Flags().StringVar(&since, "since", "", "only those quarantined since a `time`, a date, or how long ago, such as 12h")
	c.Flags().IntVar(&query.Limit, "limit", 50, "the most `receipts` to list")
	c.Flags().Int64Var(&query.After, "after", 0, "only receipts after the one with the `id`: the next page")
	p.AddJSON(c)
	return c
}

// knownReason refuses a reason for which nothing is ever quarantined.
func knownReason(reason string) error {
	if reason == "" {
		return nil
	}
	_, err := terminal.OneOf("--reason", []string{reason}, quarantine.Reasons())
	return err
}

func (p *program) quarantined(ctx context.Context, q repository.QuarantineQuery) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knowsApps(ctx, q.BundleID); err != nil {
			return err
		}
		page, err := report.ReadQuarantine(ctx, parts.db, q)
		if err != nil {
			return err
		}
		if err := terminal.Show(&p.Terminal, page, quarantineText); err != nil {
			return err
		}
		switch {
		case len(page.Receipts) == 0 && q.BundleID == "" && q.Reason == "" && q.Since.IsZero() && q.After == 0:
			p.Note("no receipt is quarantined")
		case len(page.Receipts) == 0:
			p.Note("no quarantined receipts that all of the flags choose")
		case page.NextAfter != nil:
			p.Note("there are more: continue with --after %d", *page.NextAfter)
		}
		return nil
	}, needDatabase)
}

func quarantineText(out *terminal.Page, l report.QuarantinePage) {
	if len(l.Receipts) == 0 {
		return
	}
	quarantineTable(out, l.Counts)
	out.Print("\n")
	table := out.Table().Cut(1, 2, 3).Spare(4)
	table.Row("ID\tAPP\tCUSTOMER\tREASON\tNEXT CHECK")
	for _, r := range l.Receipts {
		table.Row("%d\t%s\t%s\t%s\t%s", r.ID, r.BundleID, r.CustomerRef, phrase.Words(r.Reason), orNever(r.NextCheckAt))
	}
	table.End()
}

func quarantineTable(out *terminal.Page, counts []repository.QuarantineCount) {
	table := out.Table().Cut(0)
	table.Row("APP\tREASON\tRECEIPTS")
	for _, c := range counts {
		table.Row("%s\t%s\t%s", c.BundleID, phrase.Words(c.Reason), phrase.Count(c.Receipts))
	}
	table.End()
}

func (p *program) receiptsReleaseCommand() *cobra.Command {
	var query repository.QuarantineQuery
	var all bool
	var since string
	c := &cobra.Command{
		Use:   "release (ID... | --all | --app BUNDLE_ID) [flags]",
		Short: "Take receipts out of quarantine, and make them due now",
		Long: `Take receipts out of quarantine, and make them due now as if nothing were known
about them: it takes as many failures again until they are quarantined. Their
subscriptions stay as they are. The next run checks them: the nightly one, or
one that you start with 'revalidator run'.

A receipt that a worker checks now is not changed.`,
		Example: `  revalidator receipts release 42 43
  revalidator receipts release --app com.example.reader --reason malformed
  revalidator receipts release --app com.example.reader --since 2d
  revalidator receipts release --all --reason panicked`,
		Args: func(c *cobra.Command, args []string) error {
			chosen := 0
			for _, given := range []bool{len(args) > 0, all, c.Flags().Changed("app")} {
				if given {
					chosen++
				}
			}
			if chosen != 1 {
				return errors.New("give the IDs of receipts, or --all, or --app BUNDLE_ID")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := receiptIDs(args)
			if err != nil {
				return terminal.Usage(err)
			}
			if len(ids) > 0 {
				query.IDs = ids
			}
			if err := knownReason(query.Reason); err != nil {
				return terminal.Usage(err)
			}
			if query.Since, err = terminal.TimeOrAgo("--since", since, time.Now()); err != nil {
				return terminal.Usage(err)
			}
			return p.release(c.Context(), query)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every receipt in quarantine")
	c.Flags().StringVar(&query.BundleID, "app", "", "every one of the app with the `bundle id`")
	c.Flags().StringVar(&query.Reason, "reason", "", "only those quarantined for the `reason`")
	c.Flags().StringVar(&since, "since", "", "only those quarantined since a `time`, a date, or how long ago, such as 12h")
	p.AddJSON(c)
	return c
}

func (p *program) release(ctx context.Context, q repository.QuarantineQuery) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knowsApps(ctx, q.BundleID); err != nil {
			return err
		}
		if len(q.IDs) > 0 {
			chosen := repository.ReceiptQuery{IDs: q.IDs, Limit: len(q.IDs)}
			found, err := parts.db.StoredReceipts(ctx, chosen)
			if err == nil {
				err = report.AllThere(chosen, found)
			}
			if err != nil {
				return err
			}
		}
		now := parts.clock.Now()
		result := report.Release{Counts: []repository.QuarantineCount{}, NotReleased: append([]int64{}, q.IDs...)}
		schedule, err := parts.schedule()
		if err != nil {
			return err
		}
		result.NextRunAt = schedule.NextRun(now)
		for q.Limit = maxPage; ; {
			page, err := parts.db.Release(ctx, q, parts.clock.DateOf(now))
			if err != nil {
				return err
			}
			result.Add(page)
			if len(page) < q.Limit {
				break
			}
			q.After = page[len(page)-1].ID
		}
		return p.Print(result, releaseText(result, now))
	}, needDatabase)
}

func releaseText(r report.Release, now time.Time) func(*terminal.Page) {
	return func(out *terminal.Page) {
		s := terminal.Sheet{Page: out, Now: now, Label: 15}
		for _, id := range r.NotReleased {
			s.Sentence("Receipt", "%d: not changed: a worker checks it now, or it is not quarantined for that reason", id)
		}
		if r.Released == 0 {
			s.Row("Released", "none")
			return
		}
		quarantineTable(out, r.Counts)
		out.Print("\n")
		s.Row("Released", phrase.Count(r.Released)+":", "due", "now")
		s.Row("Next check", "nightly run at", phrase.TimeAgo(r.NextRunAt, now)+";", "or start one now with 'revalidator run'")
	}
}
