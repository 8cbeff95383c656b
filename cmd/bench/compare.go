package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tolerance is how many times worse than before a row may be.
const tolerance = 1.10

// measured is a row of one run in a file of results.
type measured struct {
	name string
	figure
}

// unitRatio is the unit of a figure's ratio in a file.
const unitRatio = "ratio"

// writeResults writes every row of every run to a file in the format of Go's
// benchmarks, which benchstat reads too.
// https://go.googlesource.com/proposal/+/master/design/14313-benchmark-format.md
func (t *table) writeResults(file string) error {
	var text strings.Builder
	for _, unit := range []string{unitSpeed, unitShare} {
		fmt.Fprintf(&text, "Unit %s better=higher\n", unit)
	}
	for _, r := range t.rows {
		fmt.Fprintf(&text, "Benchmark%s 1 %g %s", r.name, r.figure.value, r.figure.unit)
		if r.figure.ratio != 0 {
			fmt.Fprintf(&text, " %g %s", r.figure.ratio, unitRatio)
		}
		text.WriteByte('\n')
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

// readResults reads what writeResults wrote.
func readResults(name string) ([]measured, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var results []measured
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		m := measured{name: strings.TrimPrefix(fields[0], "Benchmark")}
		m.unit = fields[3]
		if m.value, err = strconv.ParseFloat(fields[2], 64); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, fields[0], err)
		}
		if len(fields) > 5 && fields[5] == unitRatio {
			if m.ratio, err = strconv.ParseFloat(fields[4], 64); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", name, fields[0], err)
			}
		}
		results = append(results, m)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("%s holds no results of 'make bench OUT=FILE'", name)
	}
	return results, nil
}

func (t *table) results() []measured {
	var all []measured
	for _, r := range t.rows {
		all = append(all, measured{r.name, r.figure})
	}
	return all
}

// compare prints how the rows have changed, by their medians, and is an error
// where one is worse than tolerance allows.
func compare(out io.Writer, before, now []measured) error {
	lines := []string{"| Row | Before | Now | Times worse | |", "| --- | --- | --- | --- | --- |"}
	var worse []string
	var compared int
	for _, name := range names(now) {
		a, found := middle(before, name)
		b, _ := middle(now, name)
		if !found {
			lines = append(lines, fmt.Sprintf("| %s | – | %s | – | new |", name, b))
			continue
		}
		compared++
		factor, verdict := b.timesWorse(a), "ok"
		if factor > tolerance {
			worse = append(worse, name)
			verdict = "**worse**"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %.2f | %s |", name, a, b, factor, verdict))
	}
	if _, err := fmt.Fprintln(out, strings.Join(lines, "\n")); err != nil {
		return err
	}
	switch {
	case compared == 0:
		return errors.New("none of these rows was measured before: compare runs with the same ONLY and QUICK")
	case len(worse) > 0:
		return fmt.Errorf("more than %.0f %% worse than before: %s", 100*(tolerance-1), strings.Join(worse, ", "))
	}
	return nil
}

// names lists the rows, each once.
func names(all []measured) []string {
	var list []string
	for _, m := range all {
		if !slices.Contains(list, m.name) {
			list = append(list, m.name)
		}
	}
	return list
}

// middle has the medians of a row's value and of its ratio.
func middle(all []measured, name string) (m measured, found bool) {
	var values, ratios []float64
	for _, one := range all {
		if one.name == name {
			m, found = one, true
			values, ratios = append(values, one.value), append(ratios, one.ratio)
		}
	}
	if found {
		m.value, m.ratio = median(values), median(ratios)
	}
	return m, found
}

func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

func (m measured) String() string {
	text := fmt.Sprintf("%.4g %s", m.value, m.unit)
	if m.ratio != 0 {
		text += fmt.Sprintf(" (%.3f×)", m.ratio)
	}
	return text
}

// timesWorse is by how much a row is worse than before, below 1 where it is
// better. Where it has a ratio, the smaller change of the two counts: a machine
// that is busier than before makes the baseline worse as well, and a baseline
// that was lucky does not change the program's own figure.
func (m measured) timesWorse(before measured) float64 {
	factor := worsening(before.value, m.value, isMoreBetter(m.unit))
	if before.ratio != 0 && m.ratio != 0 {
		factor = min(factor, worsening(before.ratio, m.ratio, isMoreBetter(m.unit)))
	}
	return factor
}

func worsening(before, now float64, isMoreBetter bool) float64 {
	if isMoreBetter {
		before, now = now, before
	}
	return now / before
}
