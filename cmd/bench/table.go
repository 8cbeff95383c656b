package main

import (
	"fmt"
	"io"
	"strings"
)

// row is one line of the table.
type row struct {
	what string
	// ours and baseline are what was measured, baseline empty where there is
	// nothing to compare with.
	ours, baseline string
	// ratio is the figure that has a target, in words.
	ratio, target string
	met           bool
}

type table struct{ rows []row }

// add notes a row, and tells of it at once.
func (t *table) add(r row) {
	t.rows = append(t.rows, r)
	say("  %s: %s, baseline %s: %s (target %s)", r.what, r.ours, orDash(r.baseline), r.ratio, r.target)
}

func (t *table) missed() (n int) {
	for _, r := range t.rows {
		if !r.met {
			n++
		}
	}
	return n
}

// print writes the table in Markdown, as README.md has it.
func (t *table) print(out io.Writer) error {
	lines := []string{"| What | Measured | Baseline | Ratio | Target | |", "| --- | --- | --- | --- | --- | --- |"}
	for _, r := range t.rows {
		verdict := "met"
		if !r.met {
			verdict = "**missed**"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", r.what, r.ours, orDash(r.baseline), r.ratio, r.target, verdict))
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// times is a ratio in words.
func times(ratio float64) string { return fmt.Sprintf("%.2f×", ratio) }

func perSecond(n float64) string { return fmt.Sprintf("%.0f/s", n) }

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
