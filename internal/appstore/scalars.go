package appstore

import (
	"fmt"
	"strconv"
	"time"
)

const (
	// maxShared bounds how many texts are held once each.
	maxShared = 1024
	// numberDigits is the most digits of an id that is held as a number.
	numberDigits = 18
)

// The dates that are possible: from 2000, before which there was no App Store,
// to the end of 2199. Any two of them are less than the 292 years apart that a
// time.Duration holds, and with any wait of the policy added, each can be written
// as RFC 3339 and stored.
const (
	minMillis = 946684800000
	maxMillis = 7258118399999
)

// text reads a text of its own, such as an id.
func (d *decoder) text() string {
	text := d.bounded()
	if len(text) > numberDigits {
		d.kept.texts += int64(len(text)) // a number is held as one
	}
	return string(text)
}

// shared reads a text that many records repeat and holds it once.
func (d *decoder) shared() string {
	text := d.bounded()
	if known, ok := d.texts[string(text)]; ok {
		return known
	}
	s := string(text)
	d.kept.texts += int64(len(s))
	if len(d.texts) < maxShared && d.texts != nil {
		d.texts[s] = s
	}
	return s
}

// bounded reads a text that will be stored. One that is too long, or no text at
// all, makes the reply unusable: what it says or names is not known without it.
func (d *decoder) bounded() []byte {
	text, _ := d.scalar()
	if d.lost || len(text) > d.maxText {
		d.fail(fmt.Errorf("%w: more than %d bytes, or no text", ErrUnusableText, d.maxText))
		return nil
	}
	return text
}

// date reads UNIX time in milliseconds. Anything else, and an impossible date, is
// counted and reads as the zero time.
func (d *decoder) date(name string) time.Time {
	t, _ := d.dateOrOdd(name)
	return t
}

// dateOrOdd is date, and reports whether there was anything else.
func (d *decoder) dateOrOdd(name string) (t time.Time, odd bool) {
	text, ok := d.scalar()
	t, valid := millis(text)
	if ok && !valid && len(text) > 0 {
		d.unknown.add(name+" that is no possible date", 1) // without the value: each would be told by itself
		odd = true
	}
	return t, odd || d.lost
}

// requestDate reads Apple's time of the reply. One that is not possible is kept
// with the error, for whoever compares it with the clock.
func (d *decoder) requestDate() {
	text, ok := d.scalar()
	t, valid := millis(text)
	if d.lost || ok && !valid && len(text) > 0 {
		d.unknown.add("request_date_ms that is no possible date", 1)
		d.fail(ErrNoTime)
		t = anyMillis(text)
	}
	d.out.Facts.AsOf = t
}

// anyMillis is millis for any time up to the year 9999, and zero beyond.
func anyMillis(text []byte) time.Time {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if t := time.UnixMilli(n).UTC(); err == nil && t.Year() > 0 && t.Year() <= 9999 {
		return t
	}
	return time.Time{}
}

// dateOrText reads a key that is a text in newer replies and may be
// milliseconds in iOS 6 style. It says which.
func (d *decoder) dateOrText() (t time.Time, isText bool) {
	text, ok := d.scalar()
	t, isDate := millis(text)
	return t, d.lost || ok && !isDate && len(text) > 0
}

func millis(text []byte) (time.Time, bool) {
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' || n > maxMillis {
			return time.Time{}, false
		}
		n = n*10 + int64(c-'0')
	}
	t := time.UnixMilli(n).UTC()
	if !isPossible(t) {
		return time.Time{}, false
	}
	return t, true
}

func isPossible(t time.Time) bool {
	return minMillis <= t.UnixMilli() && t.UnixMilli() <= maxMillis
}

// number reads a count that is never negative; 0 where there is none.
func (d *decoder) number(name string) int {
	text, ok := d.scalar()
	n, err := strconv.ParseUint(string(text), 10, 31)
	if ok && err != nil {
		d.unknown.value(name, text)
		return 0
	}
	return int(n)
}

// flag reads a boolean that is false where Apple sent none.
func (d *decoder) flag(name string) bool {
	value, _ := d.boolean(name)
	return value
}

// flagPointer reads a boolean that is nil where Apple sent none.
func (d *decoder) flagPointer(name string) *bool {
	value, ok := d.boolean(name)
	if !ok {
		return nil
	}
	return &value
}

// boolean reads a boolean in any spelling: true, 1, "true", "1". Anything else
// is counted.
func (d *decoder) boolean(name string) (value, ok bool) {
	text, ok := d.scalar()
	switch string(text) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	if ok && len(text) > 0 {
		d.unknown.value(name, text)
	}
	return false, false
}
