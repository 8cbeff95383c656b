package appstore

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// scalar reads a string, a number or a literal as text, so that no number goes
// through a float. It returns false for null, and for what it skips because it
// is too long or no scalar at all, which lost then says.
func (s *scanner) scalar() ([]byte, bool) {
	s.lost = false
	switch s.peek() {
	case '"':
		return s.quoted()
	case '{', '[':
		s.misshapen, s.lost = s.misshapen+1, true
		s.skip()
		return nil, false
	}
	literal := s.literal()
	if s.err != nil || string(literal) == "null" {
		return nil, false
	}
	return literal, true
}

// quoted reads a string of at most maxText bytes; a longer one is skipped.
func (s *scanner) quoted() ([]byte, bool) {
	s.pos++
	// Nearly every string ends within the window and is plain.
	window := s.buf[s.pos:min(s.end, s.pos+maxText)]
	if i := bytes.IndexByte(window, '"'); i >= 0 && isPlain(window[:i]) {
		s.pos += i + 1
		return window[:i], true
	}
	plain := true
	i := 0
	for ; ; i++ {
		for s.pos+i >= s.end {
			if !s.fill() {
				return nil, false
			}
		}
		c := s.buf[s.pos+i]
		if c == '"' {
			break
		}
		if i >= maxText {
			s.longTexts, s.lost = s.longTexts+1, true
			s.skipRest()
			return nil, false
		}
		if c == '\\' {
			i++
		}
		plain = plain && c != '\\' && c >= ' ' && c < utf8.RuneSelf
	}
	text := s.buf[s.pos : s.pos+i]
	s.pos += i + 1
	if plain {
		return text, true
	}
	return s.cleaned(text)
}

// isPlain reports whether a text has neither escapes nor control characters nor
// anything beyond ASCII. It looks at eight bytes at a time: a byte is below n
// where subtracting n borrows from its highest bit.
func isPlain(text []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		w := binary.LittleEndian.Uint64(text)
		escapes := w ^ '\\'*ones
		if (w|(w-' '*ones)&^w|(escapes-ones)&^escapes)&highs != 0 {
			return false
		}
	}
	for _, c := range text {
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// cleaned is a text without its escapes, its control characters, which
// Postgres would not store either, and without invalid UTF-8.
func (s *scanner) cleaned(text []byte) ([]byte, bool) {
	clean, dropped, ok := unescape(text)
	if !ok {
		s.malformed("bad escape")
		return nil, false
	}
	s.controls += dropped
	return bytes.ToValidUTF8(clean, []byte(string(utf8.RuneError))), true
}

// literal reads a number, true, false or null.
func (s *scanner) literal() []byte {
	s.peek()
	i := 0
	for {
		if s.pos+i >= s.end && !s.fill() {
			return nil
		}
		if !isLiteral(s.buf[s.pos+i]) {
			break
		}
		if i++; i > maxText {
			break
		}
	}
	literal := s.buf[s.pos : s.pos+i]
	s.pos += i
	switch string(literal) {
	case "null", "true", "false":
		return literal
	}
	if !isNumber(literal) {
		s.malformed("value expected")
		return nil
	}
	return literal
}

func isLiteral(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == 'E' || c == '+' || c == '-' || c == '.'
}

// isNumber tells numbers from words; what the number is worth is for its
// reader to say.
func isNumber(b []byte) bool {
	return len(b) > 0 && len(b) <= maxText && len(bytes.Trim(b, "0123456789+-.eE")) == 0 &&
		(b[0] == '-' || '0' <= b[0] && b[0] <= '9')
}

// skipText passes over a string of any length.
func (s *scanner) skipText() {
	s.pos++
	s.skipRest()
}

// skipRest passes over a string whose opening quote has been read. The place
// of the next quote is remembered while escapes before it are passed, so that
// a receipt full of \/ is still searched only once.
func (s *scanner) skipRest() {
	for quote := -1; ; {
		if s.pos >= s.end {
			over := s.pos - s.end // 1 where the window ends within an escape
			s.pos = s.end
			if !s.fill() {
				return
			}
			s.pos, quote = over, -1
		}
		if quote < s.pos {
			quote = s.end
			if i := bytes.IndexByte(s.buf[s.pos:s.end], '"'); i >= 0 {
				quote = s.pos + i
			}
		}
		if i := bytes.IndexByte(s.buf[s.pos:quote], '\\'); i >= 0 {
			s.pos += i + 2
			continue
		}
		if quote < s.end {
			s.pos = quote + 1
			return
		}
		s.pos = s.end
	}
}
