package terminal

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
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
			return nil, Unknown(flag, v, Texts(known))
		}
		named = append(named, T(v))
	}
	return named, nil
}

// maxChoices is how many known values an error names.
const maxChoices = 40

// Unknown is the error for a value of a flag that is none of those that are known:
// which one was meant, where it is near one, and which ones there are.
func Unknown(flag, value string, known []string) error {
	text := fmt.Sprintf("%s: unknown %s %q", flag, strings.ReplaceAll(strings.TrimLeft(flag, "-"), "-", " "), value)
	if near := Near(value, known); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	switch more := len(known) - maxChoices; {
	case len(known) == 0:
		return errors.New(text + ": there are none yet")
	case more > 0:
		return fmt.Errorf("%s\nChoose from %s and %d more", text, strings.Join(known[:maxChoices], ", "), more)
	}
	return fmt.Errorf("%s\nChoose from %s", text, strings.Join(known, ", "))
}

// maxNear is how many suggestions help.
const maxNear = 3

// Near are those of the known values that a value may be a mistyped one of: by the
// measure by which cobra suggests commands.
func Near(value string, known []string) []string {
	choices := new(cobra.Command)
	for _, k := range known {
		if !strings.Contains(k, " ") {
			choices.AddCommand(&cobra.Command{Use: k, Run: func(*cobra.Command, []string) {}})
		}
	}
	for choices.SuggestionsMinimumDistance = 1; choices.SuggestionsMinimumDistance <= suggestionDistance; choices.SuggestionsMinimumDistance++ {
		if near := choices.SuggestionsFor(value); len(near) > 0 {
			return near[:min(len(near), maxNear)]
		}
	}
	return nil
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
