package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"revalidator/internal/dev/faults"
)

// runSoak does nights in a row, and says the result of them and of what they
// use.
func (o options) runSoak(ctx context.Context, cfg faults.SuiteConfig, stdout io.Writer) error {
	cfg.Receipts = o.soak
	var nights []faults.Night
	broken := 0
	err := faults.Soak(ctx, faults.SoakConfig{Suite: cfg, Nights: o.nights, Seed: 1}, func(n faults.Night) {
		nights = append(nights, n)
		cfg.Say("night %d: %d receipts in %.0f s, %d asked again, %d lost, %d wrong, %d events off; %s", len(nights),
			n.Receipts, n.Took.Seconds(), n.Duplicates, n.Lost, n.Wrong, n.Events, strings.Join(n.Harm, ", "))
		for _, complaint := range n.Complaints {
			broken++
			cfg.Say("    %s", complaint)
		}
	})
	if err := errors.Join(err, printNights(stdout, nights)); err != nil {
		return err
	}
	for _, complaint := range faults.Growth(nights) {
		broken++
		cfg.Say("    %s", complaint)
	}
	if broken > 0 {
		return fmt.Errorf("%d complaints", broken)
	}
	return nil
}

func printNights(w io.Writer, nights []faults.Night) error {
	const mega = 1 << 20
	var b strings.Builder
	b.WriteString("| night | receipts | harms | duplicates | lost | wrong | events off | heap | resident | goroutines | files | Postgres | Redis | receipts on disk | subscriptions on disk |\n")
	b.WriteString("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, n := range nights {
		fmt.Fprintf(&b, "| %d | %d | %d | %d | %d | %d | %d | %d MB | %d MB | %d | %d | %d | %d | %d MB | %d MB |\n", i+1,
			n.Receipts, len(n.Harm), n.Duplicates, n.Lost, n.Wrong, n.Events, n.Use.Heap/mega, n.Use.Resident/mega,
			n.Use.Goroutines, n.Use.Files, n.Use.Postgres, n.Use.Redis, n.Use.Receipts/mega, n.Use.Subscriptions/mega)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
