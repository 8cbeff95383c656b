package appstore

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape resolves JSON's escapes in place and drops control characters,
// escaped or not. It reports how many it dropped, and false for an escape that
// JSON does not have.
func unescape(b []byte) (clean []byte, dropped int, ok bool) {
	clean = b[:0] // never longer than what has been read of b
	for i := 0; i < len(b); {
		r, size := rune(b[i]), 1
		if b[i] == '\\' {
			if r, size = escaped(b[i:]); size == 0 {
				return nil, dropped, false
			}
		}
		i += size
		switch {
		case r < ' ':
			dropped++
		case size == 1:
			clean = append(clean, byte(r))
		default:
			clean = utf8.AppendRune(clean, r)
		}
	}
	return clean, dropped, true
}

// escaped reads one escape and says how many bytes it took, 0 for none.
func escaped(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch c := b[1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b', 'f', 'n', 'r', 't':
		return 0, 2 // control characters all, which are dropped
	case 'u':
		return escapedRune(b)
	}
	return 0, 0
}

// escapedRune reads \uXXXX, or two of them that make one character.
func escapedRune(b []byte) (rune, int) {
	high, ok := hex(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(high) {
		return high, 6
	}
	if low, ok := hex(b[6:]); ok {
		if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
			return r, 12
		}
	}
	return utf8.RuneError, 6
}

func hex(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}
