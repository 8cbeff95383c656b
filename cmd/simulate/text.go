package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"revalidator/internal/dev/simulation"
	"revalidator/internal/iap"
)

func number(n int) string { return humanize.Comma(int64(n)) }

func printCensus(out io.Writer, c simulation.Config, census simulation.Census) {
	title := fmt.Sprintf("%s: %s subscriptions, %d days", strings.ToUpper(c.Population.Name), number(c.Subscriptions), c.Days)
	fmt.Fprintf(out, "%s\n%s\n\n", title, strings.Repeat("=", len(title)))
	var parts []string
	for _, status := range iap.Statuses() {
		parts = append(parts, number(census.Status[status])+" "+strings.ReplaceAll(string(status), "_", " "))
	}
	fmt.Fprintf(out, "At the start: %s.\n", strings.Join(parts, ", "))
	parts = nil
	for _, product := range census.Products() {
		parts = append(parts, number(census.Product[product])+" "+product)
	}
	fmt.Fprintf(out, "Of those that have not ended: %s.\nThe others subscribe for the first time in the days that count.\n", strings.Join(parts, ", "))
}

// right lays columns out, aligned right but for the first.
func right(out io.Writer, rows func(table io.Writer)) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	rows(table)
	_ = table.Flush() // a bufio.Writer keeps its error until its own Flush
}

func printResult(out io.Writer, r *simulation.Result, most int) {
	fmt.Fprintf(out, "\n(%s) %s\n    %s calls, 1/%.1f of (a), %.1f per change found\n\n", r.Policy.Name, r.Policy.Text,
		number(r.Calls), float64(most)/float64(r.Calls), float64(r.Calls)/float64(max(r.Detected(), 1)))
	right(out, func(table io.Writer) {
		fmt.Fprintf(table, "%-16s\tdetected\tmissed\tbehind return\tmedian\tp95\tmax\t\n", "change")
		for k := range r.Kinds {
			f := &r.Kinds[k]
			fmt.Fprintf(table, "%-16s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", simulation.Kind(k), number(f.Detected), number(f.Missed), number(f.Hidden),
				simulation.Short(f.Quantile(0.5)), simulation.Short(f.Quantile(0.95)), simulation.Short(f.Max()))
		}
	})
	if len(r.Reasons()) < 2 {
		return
	}
	fmt.Fprintln(out)
	right(out, func(table io.Writer) {
		fmt.Fprintf(table, "%-20s\tcalls\tchanges found\tcalls per change\t\n", "asked because of")
		for _, reason := range r.Reasons() {
			each := "-"
			if reason.Found > 0 {
				each = fmt.Sprintf("%.1f", float64(reason.Calls)/float64(reason.Found))
			}
			fmt.Fprintf(table, "%-20s\t%s\t%s\t%s\t\n", reason.Why, number(reason.Calls), number(reason.Found), each)
		}
	})
}

// printFrontier shows each policy's calls next to what they buy.
func printFrontier(out io.Writer, n int, o simulation.Outcome) {
	fmt.Fprintf(out, "\nCalls against staleness, on %s of them. \"Polled\" is for how long a recovery,\n"+
		"return, refund or plan change goes unseen on average, the missed ones included;\n"+
		"then the p95 of those that are found.\n\n", number(n))
	base := o.Results[2].Calls
	right(out, func(table io.Writer) {
		fmt.Fprintf(table, "%-20s\tcalls\tof (c)\tpolled\trenewal\tlapse\trecovery\trefund\treturn\t\n", "policy")
		for _, r := range o.Results {
			p95 := func(k simulation.Kind) string { return simulation.Short(r.Kinds[k].Quantile(0.95)) }
			fmt.Fprintf(table, "%-20s\t%s\t%.0f%%\t%.2f d\t%s\t%s\t%s\t%s\t%s\t\n", r.Policy.Name,
				fmt.Sprintf("%.0f k", float64(r.Calls)/1000), 100*float64(r.Calls)/float64(base), r.Delay(simulation.Polled...).Hours()/24,
				p95(simulation.Renewal), p95(simulation.Lapse), p95(simulation.Recovery), p95(simulation.LongRefund), p95(simulation.Resubscribe))
		}
	})
}

// printTargets reports whether one is missed.
func printTargets(out io.Writer, targets []simulation.Target) (missed bool) {
	fmt.Fprintf(out, "\n")
	right(out, func(table io.Writer) {
		fmt.Fprintf(table, "%-58s\tgot\t\t\n", "target")
		for _, t := range targets {
			verdict := "met"
			if !t.Met {
				verdict, missed = "MISSED", true
			}
			fmt.Fprintf(table, "%-58s\t%s\t%s\t\n", t.Text, t.Got, verdict)
		}
	})
	fmt.Fprintf(out, "\n")
	return missed
}
