package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"revalidator/internal/ledger"
)

// lookFlags are the flags of an app's own wishes of when its receipts are looked
// at.
type lookFlags struct{ grace, resubscribe, sweep daysFlag }

func (f *lookFlags) add(c *cobra.Command) {
	f.grace, f.resubscribe, f.sweep = daysFlag{least: 0, most: 60}, daysFlag{least: 0, most: 3650}, daysFlag{least: 1, most: 365}
	c.Flags().Var(&f.grace, "grace-days", "for how many `days` after expiry your service stays on where a payment failed:\nlooked at just after; 0 to 60, or default: Apple's own grace period only")
	c.Flags().Var(&f.resubscribe, "resubscribe-days", "for how many `days` after its end a subscription is looked at, in case the\ncustomer comes back; 0 to 3650, or default: 365")
	c.Flags().Var(&f.sweep, "sweep-days", "longest wait in `days` between two looks at a live subscription, in case of a\nrefund; 1 to 365, or default: 30, later 60")
}

// daysFlag is a number of days, or the word default.
type daysFlag struct {
	least, most int
	given       bool
	n           *int // nil is the default
}

// String implements pflag.Value. Nothing is shown as the default of the flag,
// which its text tells of.
func (d *daysFlag) String() string {
	if d.n == nil {
		return ""
	}
	return strconv.Itoa(*d.n)
}

// Set implements pflag.Value.
func (d *daysFlag) Set(text string) error {
	d.given, d.n = true, nil
	if text == "default" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < d.least || n > d.most {
		return fmt.Errorf("want a number of days from %d to %d, or default", d.least, d.most)
	}
	d.n = &n
	return nil
}

// Type implements pflag.Value.
func (d *daysFlag) Type() string { return "days" }

// change is nil where the flag was not given.
func (d *daysFlag) change() **int {
	if !d.given {
		return nil
	}
	return &d.n
}

// looksText tells of an app's own wishes in a line of its own, and is empty where
// it has none.
func looksText(a ledger.App) string {
	text, before := "", "\n  "
	for _, wish := range []struct {
		name string
		days *int
	}{{"grace", a.GraceDays}, {"resubscribe", a.ResubscribeDays}, {"sweep", a.SweepDays}} {
		if wish.days != nil {
			text += fmt.Sprintf("%s%s days %d", before, wish.name, *wish.days)
			before = ", "
		}
	}
	return text
}

// looksTable lists the wishes of the apps that have any.
func looksTable(out io.Writer, apps []ledger.App) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "\nBUNDLE ID\tGRACE DAYS\tRESUBSCRIBE DAYS\tSWEEP DAYS\n"
	for _, a := range apps {
		if looksText(a) == "" {
			continue
		}
		fmt.Fprint(table, head)
		head = ""
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", short(a.BundleID, 36), daysText(a.GraceDays), daysText(a.ResubscribeDays), daysText(a.SweepDays))
	}
	return table.Flush()
}

func daysText(days *int) string {
	if days == nil {
		return "default"
	}
	return strconv.Itoa(*days)
}
