package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/terminal"
)

// lookFlags are the flags of an app's own wishes of when its receipts are looked
// at.
type lookFlags struct{ grace, resubscribe, sweep terminal.Days }

func (f *lookFlags) add(c *cobra.Command) {
	f.grace, f.resubscribe, f.sweep = terminal.Days{Least: 0, Most: 60}, terminal.Days{Least: 0, Most: 3650}, terminal.Days{Least: 1, Most: 365}
	c.Flags().Var(&f.grace, "grace-days", "for how many `days` after expiry your service stays on where a payment failed:\nchecked just after that; 0 to 60, or default: Apple's own grace period only")
	c.Flags().Var(&f.resubscribe, "resubscribe-days", "for how many `days` after its end a subscription is checked, in case the\ncustomer comes back; 0 to 3650, or default: 365")
	c.Flags().Var(&f.sweep, "sweep-days", "longest wait in `days` between two checks of a live subscription, in case of a\nrefund; 1 to 365, or default: 30, later 60")
}

// looksText tells of an app's own wishes in a line of its own, and is empty where
// it has none.
func looksText(a apps.App) string {
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
func looksTable(out *terminal.Page, apps []apps.App) {
	table := out.Table()
	head := "\nBUNDLE ID\tGRACE DAYS\tRESUBSCRIBE DAYS\tSWEEP DAYS"
	for _, a := range apps {
		if looksText(a) == "" {
			continue
		}
		if head != "" {
			table.Row(head)
			head = ""
		}
		table.Row("%s\t%s\t%s\t%s", terminal.Short(a.BundleID, 36), daysText(a.GraceDays), daysText(a.ResubscribeDays), daysText(a.SweepDays))
	}
	table.End()
}

func daysText(days *int) string {
	if days == nil {
		return "default"
	}
	return strconv.Itoa(*days)
}
