package receipt

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// decodeBase64 decodes base64 as clients and databases really keep it: with line
// breaks and spaces, in the URL alphabet, with too little or too much padding.
// Apple accepts only the canonical form, so what is decoded here is encoded again
// before it is sent. The text is left as it was.
//
// The errors are ErrEmpty; ErrNotBase64; ErrTruncated where the text ends inside a
// byte; and ErrNotAReceipt where it is no text at all.
func decodeBase64(text []byte) ([]byte, error) {
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

// notBase64 says which character of a text is not one of base64.
func notBase64(text []byte, at int) error {
	character, size := utf8.DecodeRune(text[at:])
	switch {
	case at < len(signedData) && !isText(text): // a picture, an archive: its first bytes are no digits
		return errNeither
	case digit(text[at]) != invalid:
		return fmt.Errorf("%w: byte %d is %q after the padding '=': several texts in one, or quoted-printable", ErrNotBase64, at, character)
	case character == utf8.RuneError && size <= 1:
		return fmt.Errorf("%w: byte %d is 0x%02X, which is no character", ErrNotBase64, at, text[at])
	case character == '…', bytes.HasPrefix(text[at:], []byte("...")):
		return fmt.Errorf("%w: byte %d is %q: the text was shortened where it was shown, take it from its source", ErrNotBase64, at, character)
	}
	return fmt.Errorf("%w: byte %d is %q (%U), which base64 does not have", ErrNotBase64, at, character, character)
}
