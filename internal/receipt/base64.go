package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// DecodeBase64 decodes a receipt as clients and databases really keep it:
// with line breaks and spaces, in the URL alphabet, with too little or too
// much padding, behind a data URL's prefix, or between a JSON string's quotes.
// Apple accepts only the canonical form, so what is decoded here is encoded
// anew before it is sent. The text is left as it was.
//
// The errors are ErrEmpty; ErrNotBase64; ErrTruncated where the text ends
// inside a byte; and ErrNotAReceipt where it is recognised as something else,
// such as a signed transaction.
func DecodeBase64(text []byte) ([]byte, error) {
	text, err := unwrap(text)
	if err != nil {
		return nil, err
	}
	if data, ok := decodeCanonical(text); ok {
		return data, nil
	}
	digits, bad := compact(text)
	switch {
	case bad >= 0:
		return nil, notBase64(text, bad)
	case len(digits) == 0:
		return nil, ErrEmpty
	case len(digits)%4 == 1:
		return nil, fmt.Errorf("%w: the base64 text ends inside a byte", ErrTruncated)
	}
	data := make([]byte, base64.RawStdEncoding.DecodedLen(len(digits)))
	if _, err := base64.RawStdEncoding.Decode(data, digits); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotBase64, err)
	}
	return data, nil
}

// decodeCanonical decodes what most texts are, without a look at each digit.
func decodeCanonical(text []byte) (data []byte, ok bool) {
	data = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	return data[:n], err == nil && n > 0
}

// unwrap takes off a JSON string's quotes and a data URL's prefix.
func unwrap(text []byte) ([]byte, error) {
	text = bytes.TrimSpace(text)
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		inner := text[1 : len(text)-1]
		if bytes.IndexByte(inner, '\\') >= 0 {
			var unquoted string
			if err := json.Unmarshal(text, &unquoted); err != nil {
				return nil, fmt.Errorf("%w: a JSON string with a bad escape", ErrNotBase64)
			}
			inner = []byte(unquoted)
		}
		text = bytes.TrimSpace(inner)
	}
	if bytes.HasPrefix(text, []byte("data:")) {
		_, after, found := bytes.Cut(text, []byte(";base64,"))
		if !found {
			return nil, fmt.Errorf("%w: a data URL without ;base64", ErrNotBase64)
		}
		text = after
	}
	return text, nil
}

// What digit says of a byte that is no digit of base64.
const (
	skipped = 0xff - iota
	padding
	invalid
)

// compact returns the digits of a text in the standard alphabet. They share
// memory with a text that is canonical but for its padding, as most are. bad is
// the place of the first byte that does not belong there, or -1. Padding may
// only be followed by padding: digits after it are two texts in one.
func compact(text []byte) (digits []byte, bad int) {
	clean := 0
	for clean < len(text) && isStandard(text[clean]) {
		clean++
	}
	digits = text[:clean:clean] // append copies them, if it comes to that
	padded := false
	for i, c := range text[clean:] {
		switch d := digit(c); {
		case d == skipped:
		case d == padding:
			padded = true
		case d == invalid || padded:
			return nil, clean + i
		default:
			digits = append(digits, d)
		}
	}
	return digits, -1
}

func isStandard(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

func digit(c byte) byte {
	switch {
	case isStandard(c):
		return c
	case c == '-':
		return '+'
	case c == '_':
		return '/'
	case c == ' ', c == '\t', c == '\r', c == '\n', c == '\v', c == '\f':
		return skipped
	case c == '=':
		return padding
	}
	return invalid
}

func notBase64(text []byte, at int) error {
	switch what := mistakenFor(text); {
	case what != "":
		return fmt.Errorf("%w: %s", ErrNotAReceipt, what)
	case text[at] == '%':
		return fmt.Errorf("%w: the text is still URL-encoded (%%2B, %%3D)", ErrNotBase64)
	default:
		return fmt.Errorf("%w: byte %d of the text does not belong there", ErrNotBase64, at)
	}
}
