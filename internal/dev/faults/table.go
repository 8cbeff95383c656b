package faults

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteTable writes results as docs/reliability.md shows them.
func WriteTable(w io.Writer, results []Result) error {
	var b strings.Builder
	b.WriteString("| scenario | faults injected | receipts | asked | duplicates | lost | wrong | events off | recovery |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range results {
		if r.Skipped != "" {
			fmt.Fprintf(&b, "| %s | %s | skipped: %s | | | | | | |\n", r.Name, r.Faults, r.Skipped)
			continue
		}
		duplicates := fmt.Sprint(r.Duplicates)
		if r.InFlight > 0 {
			duplicates += fmt.Sprintf(" of %d", r.InFlight)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %s | %d | %d | %d | %.1f s |\n", r.Name, r.Faults,
			r.Receipts, r.Asked, duplicates, r.Lost, r.Wrong, r.Events, r.Recovery.Round(100*time.Millisecond).Seconds())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
