// Package phrase writes numbers, times and names as people read them, for the
// terminal and for pages alike.
package phrase

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Count is a number: all its digits up to a million, three of them beyond.
func Count(n int64) string {
	if n < 1_000_000 {
		return humanize.Comma(n)
	}
	value, unit := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.3g%s", value, unit)
}

// CountIf is Count for a number that is nil until it has been counted.
func CountIf(n *int64) string {
	if n == nil {
		return "counting"
	}
	return Count(*n)
}

// Difference is a number with its sign; none is a dash.
func Difference(n int64) string {
	switch {
	case n == 0:
		return "-"
	case n > 0:
		return "+" + Count(n)
	}
	return "-" + Count(-n)
}

// Plural is a number of things.
func Plural(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return Count(n) + " " + thing
}

// Decimal is a rate with as many digits as matter.
func Decimal(n float64) string {
	digits := 1
	if n < 10 {
		digits = 2
	}
	return strconv.FormatFloat(n, 'f', digits, 64)
}

// Time is a time to the second, in UTC.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// Rate is a configured rate per second, never in the form 1e+09.
func Rate(n float64) string {
	if n >= 1000 {
		return humanize.Comma(int64(math.Round(n)))
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// TimeAgo is Time, and how long that is from now.
func TimeAgo(t, now time.Time) string { return Time(t) + " (" + ago(t, now) + ")" }

func ago(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d < 0:
		return span(-d) + " ago"
	}
	return span(d) + " from now"
}

// The lengths of months and years, on average.
const (
	day   = 24 * time.Hour
	month = year / 12
	year  = 36525 * day / 100
)

// span is a time span in its largest unit; days, months and years only begin where
// two of the unit have passed, so that half of one is not lost.
func span(d time.Duration) string {
	in := func(unit time.Duration, name string) string { return Plural(int64(d/unit), name) }
	switch {
	case d < time.Minute:
		return in(time.Second, "second")
	case d < time.Hour:
		return in(time.Minute, "minute")
	case d < 2*day:
		return in(time.Hour, "hour")
	case d < 2*month:
		return in(day, "day")
	case d < 2*year:
		return in(month, "month")
	}
	if months := int64(d % year / month); months > 0 {
		return in(year, "year") + " " + Plural(months, "month")
	}
	return in(year, "year")
}

// Duration is a time span: tenths of a second within a minute, then seconds, then
// minutes.
func Duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return d.Round(time.Second / 10).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// Days is a time span of days, which settings give in hours.
func Days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Words is a name of the program's as a person would write it.
func Words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// Most is how many names a list has before the rest is only counted.
const Most = 10

// List is a list for a sentence: the first names, and how many more there are.
func List(all []string) string {
	if more := len(all) - Most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:Most], ", "), more)
	}
	return strings.Join(all, ", ")
}
