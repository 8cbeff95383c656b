package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// percent is a part of something, from 0 to 1, that is typed and shown as 30%.
type percent float64

// String implements pflag.Value.
func (v percent) String() string { return strconv.FormatFloat(float64(v)*100, 'g', 4, 64) + "%" }

// Set implements pflag.Value.
func (v *percent) Set(text string) error {
	number, found := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(number, 64)
	if !found || err != nil || !(value > 0) || value > 100 {
		return errors.New("want a percentage such as 30%, more than 0% and up to 100%")
	}
	*v = percent(value / 100)
	return nil
}

// Type implements pflag.Value.
func (v percent) Type() string { return "percent" }

// timeOrAgo reads the value of a flag that is a time, or how long ago that was;
// where there is none it is the zero time.
func timeOrAgo(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := timeOf(text); err == nil {
		return t, nil
	}
	ago, err := model.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %q: want a time such as 2026-01-31T12:00:00Z, a date, or how long ago, such as 7d or 12h", flag, text)
	}
	return now.Add(-time.Duration(ago)), nil
}

// timeRange reads FROM..UNTIL. A side that is missing is the zero time.
func timeRange(flag, text string) (from, until time.Time, err error) {
	if text == "" {
		return from, until, nil
	}
	first, last, found := strings.Cut(text, "..")
	if !found || first+last == "" {
		return from, until, fmt.Errorf("%s %q: want FROM..UNTIL, such as 2026-01-01..2026-02-01", flag, text)
	}
	for _, side := range []struct {
		text string
		time *time.Time
	}{{first, &from}, {last, &until}} {
		if side.text == "" {
			continue
		}
		if *side.time, err = timeOf(side.text); err != nil {
			return from, until, fmt.Errorf("%s %q: want a date or a time such as 2026-01-31T12:00:00Z", flag, side.text)
		}
	}
	if !from.IsZero() && !until.IsZero() && !from.Before(until) {
		return from, until, fmt.Errorf("%s %q: FROM must be before UNTIL, which is left out itself", flag, text)
	}
	return from, until, nil
}

// timeOf reads an RFC 3339 time, or a date, which is its first moment in UTC.
func timeOf(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.UTC(), err
}

// receiptIDs reads a file of receipt ids, one per line, and returns each once,
// in order. Empty lines do not count.
func (p *program) receiptIDs(ctx context.Context, name string) ([]int64, error) {
	if name == "" {
		return nil, nil
	}
	input, _, err := p.openInput(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--ids: %w", err)
	}
	defer func() { _ = input.Close() }()
	var ids []int64
	lines := bufio.NewScanner(input)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id < 1 {
			// The line itself is not shown: it may be of a file of receipts.
			return nil, fmt.Errorf("--ids %s, line %d: want the id of a receipt, a number", name, n)
		}
		ids = append(ids, id)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--ids %s: %w", name, err)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("--ids %s: there is no id in it", name)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
