package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

func (p *program) receiptsRecheckCommand() *cobra.Command {
	var customer string
	c := &cobra.Command{
		Use:   "recheck (ID... | --customer REF)",
		Short: "Make receipts due now, whatever their next look was",
		Long: `Make receipts due now, whatever their next look was. The next run asks Apple
about them: the nightly one, or one that you start with 'revalidator run'. To
ask about one receipt at once, without storing the answer: 'revalidator check'.

A receipt that a worker has in hand is left to it. Exit code 3 says that some
receipts can never be asked about.`,
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
			query := ledger.ReceiptQuery{IDs: ids, Limit: maxPage}
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

// recheckResult is what became of one receipt.
type recheckResult string

const (
	recheckDue    recheckResult = "due"
	recheckInHand recheckResult = "in_hand"
	recheckNever  recheckResult = "never_asked"
)

type recheckedReceipt struct {
	ID       int64            `json:"id"`
	BundleID string           `json:"bundle_id"`
	State    iap.ReceiptState `json:"state"`
	Result   recheckResult    `json:"result"`
	// Obstacles are what stands in the way of the next look.
	Obstacles []string `json:"obstacles"`
}

// recheckReport is what recheck has to say, in JSON.
type recheckReport struct {
	Receipts []recheckedReceipt `json:"receipts"`
	// NextRunAt is when the nightly run starts by the schedule.
	NextRunAt time.Time `json:"next_run_at"`
}

func (p *program) recheck(ctx context.Context, q ledger.ReceiptQuery) error {
	parts, err := p.open(ctx, needDatabase)
	if err != nil {
		return err
	}
	defer parts.close()
	found, err := parts.db.StoredReceipts(ctx, q)
	if err != nil {
		return err
	}
	if err := allThere(q, found); err != nil {
		return err
	}
	now := parts.now()
	result := recheckReport{}
	schedule, err := parts.schedule()
	if err != nil {
		return err
	}
	result.NextRunAt = schedule.NextRun(now)
	ids := make([]int64, len(found))
	for i, r := range found {
		ids[i] = r.ID
	}
	due, err := parts.db.Recheck(ctx, ids, parts.dateOf(now))
	if err != nil {
		return err
	}
	never := 0
	for _, r := range found {
		done := rechecked(r, slices.Contains(due, r.ID), now)
		if done.Result == recheckNever {
			never++
		}
		result.Receipts = append(result.Receipts, done)
	}
	if err := p.Print(result, result.text(now)); err != nil {
		return err
	}
	if never > 0 {
		return terminal.Failures(fmt.Errorf("%d of %d receipts can never be asked about: see 'revalidator explain'", never, len(found)))
	}
	return nil
}

// allThere refuses ids without a receipt, before any receipt is touched.
func allThere(q ledger.ReceiptQuery, found []ledger.StoredReceipt) error {
	if len(found) == 0 && q.CustomerRef != nil {
		return fmt.Errorf("no receipts of customer %q: see 'revalidator receipts list'", *q.CustomerRef)
	}
	for _, id := range q.IDs {
		if !slices.ContainsFunc(found, func(r ledger.StoredReceipt) bool { return r.ID == id }) {
			return fmt.Errorf("no receipt %d: nothing was changed; see 'revalidator receipts list'", id)
		}
	}
	return nil
}

func rechecked(r ledger.StoredReceipt, due bool, now time.Time) recheckedReceipt {
	done := recheckedReceipt{ID: r.ID, BundleID: r.BundleID, State: r.State, Result: recheckDue, Obstacles: report.Obstacles(r, now)}
	switch {
	case due:
	case r.State == iap.ReceiptXcode, r.State == iap.ReceiptTooLarge:
		done.Result = recheckNever
	default:
		done.Result = recheckInHand
	}
	return done
}

func (r recheckReport) text(now time.Time) func(*terminal.Page) {
	return func(out *terminal.Page) {
		s := terminal.Sheet{Page: out, Now: now, Label: 15}
		due := false
		for _, done := range r.Receipts {
			said := map[recheckResult]string{
				recheckDue: "due now", recheckInHand: "in hand of a worker: left to it", recheckNever: "never asked about",
			}[done.Result]
			s.Sentence("Receipt", "%d: %s", done.ID, said)
			for _, obstacle := range done.Obstacles {
				s.Sentence("", "%s", obstacle)
			}
			due = due || done.Result == recheckDue
		}
		if due {
			s.Row("Next look", append([]string{"nightly run at", phrase.TimeAgo(r.NextRunAt, now) + ";"},
				strings.Fields("or start one now with 'revalidator run'")...)...)
		}
	}
}
