package appstore

import "strings"

const (
	// maxUnknown bounds how many different names are counted one by one.
	maxUnknown = 64
	// unknownOverflow counts what comes after them.
	unknownOverflow = "(others)"
)

// unknown counts what the decoder did not know or accepted in spite of its form, by name.
type unknown map[string]int

func (u unknown) add(name string, n int) {
	if n == 0 {
		return
	}
	if _, ok := u[name]; !ok && len(u) >= maxUnknown {
		name = unknownOverflow
	}
	u[name] += n
}

// key counts a name that Apple sent.
func (u unknown) key(where string, name []byte) {
	u.add(where+"."+printable(name, 64), 1)
}

// value counts a value outside the set that is known for its name.
func (u unknown) value(name string, value []byte) {
	u.add(name+"="+printable(value, 32), 1)
}

// printable is the text itself where it is a short plain word, so that nothing
// longer or stranger gets into a log by this way.
func printable(text []byte, most int) string {
	if len(text) == 0 || len(text) > most || strings.Trim(string(text), wordCharacters) != "" {
		return "(unprintable)"
	}
	return string(text)
}

const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"
