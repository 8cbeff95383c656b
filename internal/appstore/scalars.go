package appstore

import (
	"strconv"
	"time"
)

const (
	// maxShared bounds how many texts are held once each.
	maxShared = 1024
	// maxMillis is the end of the year 9999, beyond which a time can neither
	// be written as RFC 3339 nor have been meant.
	maxMillis = 253402300799999
)

// text reads a text of its own, such as an id.
func (d *decoder) text() string {
	text, _ := d.scalar()
	return string(text)
}

// shared reads a text that many records repeat and holds it once.
func (d *decoder) shared() string {
	text, _ := d.scalar()
	if known, ok := d.texts[string(text)]; ok {
		return known
	}
	s := string(text)
	if len(d.texts) < maxShared {
		d.texts[s] = s
	}
	return s
}

// date reads UNIX time in milliseconds. Anything else is counted and reads as
// the zero time.
func (d *decoder) date(name string) time.Time {
	t, _ := d.dateOrOdd(name)
	return t
}

// dateOrOdd is date, and reports whether there was anything else.
func (d *decoder) dateOrOdd(name string) (t time.Time, odd bool) {
	text, ok := d.scalar()
	t, valid := millis(text)
	if odd = ok && !valid && len(text) > 0; odd {
		d.unknown.value(name, text)
	}
	return t, odd
}

// dateOrText reads a key that is a text in newer replies and may be
// milliseconds in iOS 6 style. It says which.
func (d *decoder) dateOrText() (t time.Time, isText bool) {
	text, ok := d.scalar()
	t, isDate := millis(text)
	return t, ok && !isDate && len(text) > 0
}

func millis(text []byte) (time.Time, bool) {
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' || n > maxMillis {
			return time.Time{}, false
		}
		n = n*10 + int64(c-'0')
	}
	if n == 0 || n > maxMillis {
		return time.Time{}, false
	}
	return time.UnixMilli(n).UTC(), true
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
