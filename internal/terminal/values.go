package terminal

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Percent is a part of something, from 0 to 1, that is typed and shown as 30%.
type Percent float64

// String implements pflag.Value.
func (v Percent) String() string { return strconv.FormatFloat(float64(v)*100, 'g', 4, 64) + "%" }

// Set implements pflag.Value.
func (v *Percent) Set(text string) error {
	number, found := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(number, 64)
	if !found || err != nil || !(value > 0) || value > 100 {
		return errors.New("want a percentage such as 30%, more than 0% and up to 100%")
	}
	*v = Percent(value / 100)
	return nil
}

// Type implements pflag.Value.
func (v Percent) Type() string { return "percent" }

// TimeOrAgo reads the value of a flag that is a time, or how long ago that was;
// where there is none it is the zero time.
func TimeOrAgo(flag, text string, now time.Time) (time.Time, error) {
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

// TimeRange reads FROM..UNTIL. A side that is missing is the zero time.
func TimeRange(flag, text string) (from, until time.Time, err error) {
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

// OneOf holds values to those that are known, which its error names.
func OneOf[T ~string](flag string, values []string, known []T) ([]T, error) {
	var named []T
	for _, v := range values {
		if !slices.Contains(known, T(v)) {
			return nil, fmt.Errorf("unknown %s %q: choose from %s", strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", " "), v, strings.Join(Texts(known), ", "))
		}
		named = append(named, T(v))
	}
	return named, nil
}

// Texts are values as texts.
func Texts[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// Days is a number of days, or the word default.
type Days struct {
	Least, Most int
	given       bool
	N           *int // nil is the default
}

// String implements pflag.Value. Nothing is shown as the default of the flag,
// which its text describes.
func (d *Days) String() string {
	if d.N == nil {
		return ""
	}
	return strconv.Itoa(*d.N)
}

// Set implements pflag.Value.
func (d *Days) Set(text string) error {
	d.given, d.N = true, nil
	if text == "default" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < d.Least || n > d.Most {
		return fmt.Errorf("want a number of days from %d to %d, or default", d.Least, d.Most)
	}
	d.N = &n
	return nil
}

// Type implements pflag.Value.
func (d *Days) Type() string { return "days" }

// Change is nil where the flag was not given.
func (d *Days) Change() **int {
	if !d.given {
		return nil
	}
	return &d.N
}
