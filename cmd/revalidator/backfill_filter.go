package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
	"revalidator/worker"
)

// filterFlags are the flags that choose receipts, as they were typed.
type filterFlags struct {
	apps, customers, statuses, states, lastResults []string
	checkedBefore, expiring, ids                   string
	all                                            bool
}

func (f *filterFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringSliceVar(&f.apps, "app", nil, "receipts of these apps, by `bundle id`")
	flags.StringSliceVar(&f.customers, "customer", nil, "receipts of these customers, by your `reference`")
	flags.StringSliceVar(&f.statuses, "status", nil, "that show a subscription of these `status`es: "+strings.Join(terminal.Texts(iap.Statuses()), ", "))
	flags.StringVar(&f.expiring, "expiring", "", "that show a subscription which expires within `FROM..UNTIL`: dates or RFC 3339 times, UNTIL itself left out, either may be missing")
	flags.StringSliceVar(&f.states, "state", nil, "receipts in these `state`s: "+strings.Join(terminal.Texts(askableStates()), ", "))
	flags.StringSliceVar(&f.lastResults, "last-result", nil, "whose last response was ok, or failed with one of these `class`es")
	flags.StringVar(&f.checkedBefore, "checked-before", "", "last checked before a `time`, or never: RFC 3339, a date, or how long ago, such as 7d")
	flags.StringVar(&f.ids, "ids", "", "receipts whose ids are in `file`, one per line; - is standard input")
	flags.BoolVar(&f.all, "all", false, "every receipt, where no filter is given")
}

// askableStates are the states of receipts that can be checked.
func askableStates() []iap.ReceiptState {
	return slices.DeleteFunc(iap.ReceiptStates(), func(s iap.ReceiptState) bool {
		return s == iap.ReceiptXcode || s == iap.ReceiptTooLarge
	})
}

// filter reads the flags that choose receipts. What is wrong with them is an
// error of usage, and all of it is known before anything is opened.
func (p *program) filter(ctx context.Context, f filterFlags, now time.Time) (runs.Filter, error) {
	var chosen runs.Filter
	var errs [6]error
	chosen.BundleIDs, chosen.CustomerRefs = f.apps, f.customers
	chosen.Statuses, errs[0] = terminal.OneOf("--status", f.statuses, iap.Statuses())
	chosen.States, errs[1] = terminal.OneOf("--state", f.states, askableStates())
	chosen.LastResults, errs[2] = terminal.OneOf("--last-result", f.lastResults, lastResults())
	chosen.CheckedBefore, errs[3] = terminal.TimeOrAgo("--checked-before", f.checkedBefore, now)
	chosen.ExpiresFrom, chosen.ExpiresUntil, errs[4] = terminal.TimeRange("--expiring", f.expiring)
	chosen.IDs, errs[5] = p.receiptIDs(ctx, f.ids)
	if err := errors.Join(errs[:]...); err != nil {
		if ctx.Err() != nil {
			return runs.Filter{}, ctx.Err()
		}
		return runs.Filter{}, terminal.Usage(err)
	}
	switch none := f.none(); {
	case none && !f.all:
		return runs.Filter{}, terminal.Usage(errors.New("no filter is given: --all asks about every receipt"))
	case !none && f.all:
		return runs.Filter{}, terminal.Usage(errors.New("--all is for every receipt: leave it out, or the filters"))
	}
	return chosen, nil
}

// none is whether no flag chooses anything.
func (f filterFlags) none() bool {
	return len(f.apps)+len(f.customers)+len(f.statuses)+len(f.states)+len(f.lastResults) == 0 &&
		f.checkedBefore == "" && f.expiring == "" && f.ids == ""
}

// lastResults are what the last answer of a receipt may have been.
func lastResults() []string { return append([]string{runs.ResultOK}, worker.FailureClasses()...) }
