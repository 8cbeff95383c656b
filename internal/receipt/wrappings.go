package receipt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// unwrap takes one wrapping off a text; nil is a text that has none. What is
// recognised as another thing than a receipt is ErrNotAReceipt.
func unwrap(text []byte) ([]byte, error) {
	if inner := decodeUTF16(text); inner != nil {
		return inner, nil
	}
	if inner, ok := bytes.CutPrefix(text, []byte(byteOrderMark)); ok {
		return inner, nil
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return nil, ErrEmpty
	case isQuoted(text, '"'):
		return unquote(text), nil
	case isQuoted(text, '\''), isQuoted(text, '`'):
		return text[1 : len(text)-1], nil
	case text[0] == '{' && looksLikePropertyList(text):
		return nil, nil
	case text[0] == '{', text[0] == '[':
		return openJSON(text)
	}
	if what := mistakenFor(text); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrNotAReceipt, what)
	}
	for _, form := range []func([]byte) ([]byte, error){dataURL, pemBody, formField, hexDigits, unescape, percentDecode} {
		if inner, err := form(text); inner != nil || err != nil {
			return inner, err
		}
	}
	return nil, nil
}

// byteOrderMark is what some editors put before UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

// decodeUTF16 decodes what Windows calls Unicode, with a byte order mark or
// without: then the other byte of each of the first letters is zero.
func decodeUTF16(text []byte) []byte {
	var order binary.ByteOrder
	switch {
	case len(text) < 4:
		return nil
	case text[0] == 0xff && text[1] == 0xfe:
		order, text = binary.LittleEndian, text[2:]
	case text[0] == 0xfe && text[1] == 0xff:
		order, text = binary.BigEndian, text[2:]
	case isPrintable(text[0]) && text[1] == 0 && isPrintable(text[2]) && text[3] == 0:
		order = binary.LittleEndian
	case text[0] == 0 && isPrintable(text[1]) && text[2] == 0 && isPrintable(text[3]):
		order = binary.BigEndian
	default:
		return nil
	}
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = order.Uint16(text[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

func isPrintable(c byte) bool {
	return ' ' <= c && c <= '~' || c == '\t' || c == '\r' || c == '\n'
}

func isQuoted(text []byte, quote byte) bool {
	return len(text) >= 2 && text[0] == quote && text[len(text)-1] == quote
}

// unquote reads a JSON string. One that is not well-formed loses its quotes only.
func unquote(text []byte) []byte {
	inner := text[1 : len(text)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var unquoted string
	if err := json.Unmarshal(text, &unquoted); err != nil {
		return inner
	}
	return []byte(unquoted)
}

// dataURL takes off a data URL's prefix.
func dataURL(text []byte) ([]byte, error) {
	if !bytes.HasPrefix(text, []byte("data:")) {
		return nil, nil
	}
	_, after, found := bytes.Cut(text, []byte(";base64,"))
	if !found {
		return nil, fmt.Errorf("%w: a data URL without ;base64", ErrNotBase64)
	}
	return after, nil
}

// pemBody takes what stands between the first pair of PEM's lines, in whatever way
// its own lines are broken.
func pemBody(text []byte) ([]byte, error) {
	const begin, end, dashes = "-----BEGIN ", "-----END", "-----"
	_, after, found := bytes.Cut(text, []byte(begin))
	if !found {
		return nil, nil
	}
	label, body, found := bytes.Cut(after, []byte(dashes))
	switch {
	case !found:
		return nil, fmt.Errorf("%w: PEM armour whose first line is not complete", ErrNotBase64)
	case bytes.HasSuffix(label, []byte("PRIVATE KEY")):
		return nil, fmt.Errorf("%w: that is a private key", ErrNotAReceipt)
	case bytes.HasSuffix(label, []byte("CERTIFICATE")):
		return nil, fmt.Errorf("%w: that is a certificate", ErrNotAReceipt)
	}
	body, _, _ = bytes.Cut(body, []byte(end))
	return body, nil
}

// formField takes the receipt out of the fields of a form. A + in it is one that
// the sender did not encode, as base64 has no spaces.
func formField(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '=') < 0 {
		return nil, nil
	}
	for field := range bytes.SplitSeq(text, []byte("&")) {
		name, value, found := bytes.Cut(field, []byte("="))
		if found && len(name) <= maxName && isReceiptName(string(name)) {
			return value, nil
		}
	}
	return nil, nil
}

// maxName is longer than any name of the receipt.
const maxName = 20

// isReceiptName reports whether a key is one that the receipt goes by: Apple's
// receipt-data in any spelling, or receipt.
func isReceiptName(name string) bool {
	switch strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name)) {
	case "receiptdata", "receipt":
		return true
	}
	return false
}

// hexDigits decodes hexadecimal digits: as Postgres prints bytea, also with the
// backslash doubled, as SQL writes a number, or bare ones of an app receipt.
func hexDigits(text []byte) ([]byte, error) {
	digits := bytes.TrimLeft(text, `\`)
	switch {
	case len(digits) < len(text) && bytes.HasPrefix(digits, []byte("x")):
		digits = digits[1:]
	case bytes.HasPrefix(text, []byte("0x")):
		digits = text[2:]
	case !isHexOfDER(text):
		return nil, nil
	}
	data := make([]byte, hex.DecodedLen(len(digits)))
	_, err := hex.Decode(data, digits)
	var other hex.InvalidByteError
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("%w: %q among hexadecimal digits", ErrNotBase64, rune(other))
	case err != nil:
		return nil, fmt.Errorf("%w: the hexadecimal digits end inside a byte", ErrTruncated)
	}
	return data, nil
}

// isHexOfDER tells hexadecimal digits from base64, which could begin with any.
func isHexOfDER(text []byte) bool {
	start := make([]byte, 6+len(signedData)) // the longest header of a container, and what follows it
	n, err := hex.Decode(start, text[:min(2*len(start), len(text)&^1)])
	return err == nil && n == len(start) && isDER(start)
}

// unescape replaces the escapes of a JSON string that has lost its quotes.
func unescape(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '\\') < 0 {
		return nil, nil
	}
	plain := make([]byte, 0, len(text))
	for len(text) > 0 {
		c := text[0]
		text = text[1:]
		if c != '\\' {
			plain = append(plain, c)
			continue
		}
		character, size := escaped(text)
		if size == 0 {
			return nil, fmt.Errorf("%w: a backslash (\\) that begins no escape such as \\n or \\/", ErrNotBase64)
		}
		plain = append(plain, character...)
		text = text[size:]
	}
	return plain, nil
}

// escaped is the character that follows a backslash as an escape, and how many
// bytes of the text it takes; none where it is no escape.
func escaped(text []byte) (character string, size int) {
	if len(text) == 0 {
		return "", 0
	}
	switch text[0] {
	case 'n', 'r', 't':
		return "\n", 1
	case '/', '\\', '"', '\'', '=', '+', '\n', '\r':
		return string(text[0]), 1
	case 'u':
		if len(text) >= 5 {
			if n, err := strconv.ParseUint(string(text[1:5]), 16, 16); err == nil {
				return string(rune(n)), 5
			}
		}
	}
	return "", 0
}

// percentDecode takes off URL encoding.
func percentDecode(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '%') < 0 {
		return nil, nil
	}
	plain, err := url.PathUnescape(string(text))
	if err != nil {
		return nil, fmt.Errorf("%w: a percent sign (%%) that begins no URL encoding such as %%2B", ErrNotBase64)
	}
	return []byte(plain), nil
}
