package signed

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxUnknown bounds how many different names are counted one by one.
	maxUnknown = 64
	// unknownOverflow counts what comes after them.
	unknownOverflow = "(others)"
	// maxText is the longest text that is taken from a payload, in bytes. Real
	// ones are ids and names.
	maxText = 1024
)

// The dates that are possible, from 2000 to the end of 2199. Payloads of Xcode
// have some of the year 1.
const (
	minMillis = 946684800000
	maxMillis = 7258118399999
)

// decoder reads the fields of one payload. Nothing that it does not know is an
// error: Apple adds fields, values and types without a new version.
type decoder struct {
	where   string // the name of the object in the counts
	unknown map[string]int
}

// object calls field with each member of a JSON object, which encoding/json has
// found well-formed. encoding/json itself would ignore the case of names, and
// could not count those that it does not know.
func (d *decoder) object(text []byte, field func(name string, value []byte)) {
	rest := skipSpace(text)
	if len(rest) == 0 || rest[0] != '{' {
		d.count(d.where + " of another type")
		return
	}
	for rest = skipSpace(rest[1:]); len(rest) > 0 && rest[0] == '"'; {
		end := stringEnd(rest)
		name := rest[1 : end-1]
		rest = skipSpace(rest[end:])[1:] // the colon
		rest = skipSpace(rest)
		end = valueEnd(rest)
		d.member(name, rest[:end], field)
		rest = skipSpace(rest[end:])
		if len(rest) > 0 && rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
}

// nested is object for an object within another one, of the given name in the counts.
func (d *decoder) nested(where string, text []byte, field func(d *decoder, name string, value []byte)) {
	inner := decoder{where: where, unknown: d.unknown}
	inner.object(text, func(name string, value []byte) { field(&inner, name, value) })
	d.unknown = inner.unknown
}

// member leaves out null, which Apple never sends, as if it were not there.
func (d *decoder) member(name, value []byte, field func(name string, value []byte)) {
	if value[0] != 'n' {
		field(string(name), value)
	}
}

// list calls element with each element of a JSON list.
func (d *decoder) list(name string, text []byte, element func(value []byte)) {
	if text[0] != '[' {
		d.count(name + " of another type")
		return
	}
	for rest := skipSpace(text[1:]); len(rest) > 0 && rest[0] != ']'; {
		end := valueEnd(rest)
		element(rest[:end])
		rest = skipSpace(rest[end:])
		if len(rest) > 0 && rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\r' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// stringEnd is where the string ends that b begins with.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// valueEnd is where the value ends that b begins with. It does not recurse,
// however deep the value is.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of the object around a number
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// scalar is the text of a string, number or boolean.
func (d *decoder) scalar(value []byte) (string, bool) {
	switch value[0] {
	case '"':
		return d.unquote(value), true
	case '{', '[':
		d.count("(values of another type)")
		return "", false
	}
	return string(value), true
}

// unquote leaves out what a database would refuse: control characters and what
// is not UTF-8.
func (d *decoder) unquote(value []byte) string {
	inner := value[1 : len(value)-1]
	text := ""
	if isPlain(inner) {
		text = string(inner)
	} else if json.Unmarshal(value, &text) == nil {
		if strings.ContainsFunc(text, isControl) {
			d.count("(control characters)")
			text = strings.Map(func(c rune) rune {
				if isControl(c) {
					return -1
				}
				return c
			}, text)
		}
	}
	return text
}

func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
			return false
		}
	}
	return true
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// text reads a text that is kept. One that is longer than any of Apple's is
// counted and left out.
func (d *decoder) text(value []byte) string {
	text, _ := d.scalar(value)
	if len(text) > maxText {
		d.count("(texts too long to keep)")
		return ""
	}
	return text
}

// oneOf reads a text and counts one that is not among those that are known.
func (d *decoder) oneOf(name string, value []byte, known ...string) string {
	text := d.text(value)
	for _, k := range known {
		if text == k {
			return text
		}
	}
	if text != "" {
		d.value(name, text)
	}
	return text
}

// date reads UNIX time in milliseconds, and cuts what Xcode writes after the
// point. Anything else, and an impossible date, is counted and reads as the
// zero time.
func (d *decoder) date(name string, value []byte) time.Time {
	n, ok := d.millis(value)
	if !ok || n < minMillis || n > maxMillis {
		d.count(name + " that is no possible date")
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func (d *decoder) millis(value []byte) (int64, bool) {
	text, ok := d.scalar(value)
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > maxMillis {
		return 0, false
	}
	return int64(f), true
}

// number reads an integer; nil where there is none.
func (d *decoder) number(name string, value []byte) *int64 {
	n, ok := d.integer(name, value)
	if !ok {
		return nil
	}
	return &n
}

func (d *decoder) integer(name string, value []byte) (int64, bool) {
	text, ok := d.scalar(value)
	n, err := strconv.ParseInt(text, 10, 64)
	if ok && err != nil {
		d.value(name, text)
	}
	return n, ok && err == nil
}

// numberOf reads an integer and counts one beyond those that are known.
func (d *decoder) numberOf(name string, value []byte, least, most int64) *int64 {
	n := d.number(name, value)
	if n != nil && (*n < least || *n > most) {
		d.value(name, strconv.FormatInt(*n, 10))
	}
	return n
}

// flag reads a boolean; nil where there is none.
func (d *decoder) flag(name string, value []byte) *bool {
	switch text, ok := d.scalar(value); {
	case text == "true", text == "1":
		return new(true)
	case text == "false", text == "0":
		return new(false)
	case ok:
		d.value(name, text)
	}
	return nil
}

func (d *decoder) raw(value []byte) json.RawMessage {
	return json.RawMessage(strings.Clone(string(value)))
}

// field counts a name that is not known.
func (d *decoder) field(name string) { d.count(d.where + "." + printable(name, 64)) }

// value counts a value outside the set that is known for its name.
func (d *decoder) value(name, value string) { d.count(name + "=" + printable(value, 32)) }

func (d *decoder) count(name string) {
	if d.unknown == nil {
		d.unknown = make(map[string]int)
	}
	if _, ok := d.unknown[name]; !ok && len(d.unknown) >= maxUnknown {
		name = unknownOverflow
	}
	d.unknown[name]++
}

// printable is the text itself where it is a short plain word, so that nothing
// longer or stranger gets into a log.
func printable(text string, most int) string {
	if text == "" || len(text) > most || strings.Trim(text, wordCharacters) != "" {
		return "(unprintable)"
	}
	return text
}

const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./ "
