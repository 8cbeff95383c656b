package main

import (
	"fmt"
	"io"

	"revalidator/internal/dev/simulation"
)

// printFamilies prints what several receipts of one customer cost.
func printFamilies(out io.Writer, customers int, families []simulation.Family) {
	fmt.Fprintf(out, "\nReceipts of one subscription, %d customers, ours each night:\n", customers)
	fmt.Fprintf(out, "  %-22s %12s %12s %8s %12s\n", "receipts per customer", "each checked", "covered", "saved", "rests")
	for _, f := range families {
		saved := 100 * float64(f.Alone-f.Covered) / float64(max(f.Alone, 1))
		fmt.Fprintf(out, "  %-22d %12d %12d %7.1f%% %12d\n", f.Receipts, f.Alone, f.Covered, saved, f.Rests)
	}
}
