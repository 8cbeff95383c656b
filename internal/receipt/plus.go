package receipt

import (
	"bytes"
	"encoding/base64"
)

// restorePlus reads a receipt whose base64 went through a form that was not
// encoded, so that each + became a space. It is believed only where single spaces
// give canonical base64 and a whole container that ends where the text does:
// spaces that break lines give neither.
func restorePlus(text []byte) (info Info, isWhole bool) {
	digits := make([]byte, 0, len(text)+1)
	for _, c := range text {
		switch c {
		case ' ':
			digits = append(digits, '+')
		case '\t', '\r', '\n':
		default:
			digits = append(digits, c)
		}
	}
	trimmed := bytes.TrimRight(text, " ")
	atEnd := len(text) - len(trimmed)
	if info, isWhole = readWhole(digits); isWhole {
		return info, true
	}
	digits = digits[:len(digits)-atEnd]
	if info, isWhole = readWhole(digits); isWhole {
		return info, true
	}
	// The last digit is a + that somebody has trimmed.
	return readWhole(append(digits, '+'))
}

// readWhole reads a receipt from digits of canonical base64, padding aside, to
// whose end it must reach.
func readWhole(digits []byte) (info Info, isWhole bool) {
	data, err := base64.RawStdEncoding.Strict().DecodeString(string(bytes.TrimRight(digits, "=")))
	if err != nil || len(data) == 0 {
		return Info{}, false
	}
	info, err = Read(data)
	return info, err == nil && len(info.Data) == len(data)
}

// shortestLine is the shortest length of a line that base64 is broken at.
const shortestLine = 48

// hasLostPlus reports whether the spaces in a text are where + stood, rather than
// where lines were broken, which is at equal distances.
func hasLostPlus(text []byte) bool {
	parts := bytes.Fields(text)
	if len(parts) < 2 {
		return false
	}
	width := len(parts[0])
	for _, part := range parts[:len(parts)-1] {
		if len(part) != width {
			return bytes.IndexByte(text, ' ') >= 0
		}
	}
	return width < shortestLine && bytes.IndexByte(text, ' ') >= 0
}
