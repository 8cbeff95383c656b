package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxWrappings is how many wrappings are taken off a receipt, such as base64
// within a JSON string within a form: more than anybody was seen to use, and few
// enough that no input keeps the reader busy.
const maxWrappings = 12

// Parse reads a receipt as it is handed in: its bytes, or base64 text with what
// clients, databases, shells and editors do to it. It is the one reader of what
// comes from outside; Read is for what is stored.
//
// Taken off are a byte order mark, UTF-16, quotes, PEM armour, a data URL's
// prefix, a form's field, URL encoding, escapes with backslashes, hexadecimal
// digits as Postgres writes bytea, a JSON object with the receipt under Apple's
// name receipt-data or under receipt, and a JSON array of one. The base64 may have
// line breaks, the URL alphabet or the wrong padding, may be encoded twice, and may
// have spaces where form decoding put one for each +.
//
// The input is left as it was. The errors are ErrEmpty, ErrNotBase64,
// ErrNotAReceipt, ErrTruncated and ErrMalformed; each says what the input seems to
// be, and repeats no more of it than one character.
func Parse(input []byte) (Info, error) { return parse(input, maxWrappings) }

func parse(text []byte, left int) (Info, error) {
	for ; left > 0; left-- {
		if isDER(text) {
			return Read(text)
		}
		inner, err := unwrap(text)
		if err != nil {
			return Info{}, err
		}
		if inner == nil {
			return parseText(trim(text), left)
		}
		text = inner
	}
	return Info{}, fmt.Errorf("%w: it is wrapped more than %d times", ErrNotAReceipt, maxWrappings)
}

// isDER recognises the bytes of an app receipt. Two of them could still be a text
// that begins with "0".
func isDER(data []byte) bool { return len(data) > 2 && looksLikePKCS7(data) }

// trim takes the spaces off a text, but for those at its end: each may have been
// a +, the last digit of the receipt.
func trim(text []byte) []byte {
	text = bytes.TrimLeft(text, " \t\r\n\v\f")
	return bytes.TrimRight(text, "\t\r\n\v\f")
}

// parseText reads a text around which nothing is left: a property list of iOS 6,
// or base64.
func parseText(text []byte, left int) (Info, error) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && looksLikePropertyList(trimmed) {
		return readTransactionReceipt(trimmed)
	}
	if bytes.IndexByte(text, ' ') >= 0 {
		if info, isWhole := restorePlus(text); isWhole {
			return info, nil
		}
	}
	data, err := decodeBase64(bytes.TrimSpace(text))
	var info Info
	if err == nil {
		info, err = Read(data)
	}
	switch {
	case errors.Is(err, errNeither) && isText(data):
		return parseInner(data, left-1, err)
	case isCutOrMalformed(err) && hasLostPlus(text):
		return Info{}, errLostPlus
	}
	return info, err
}

// errLostPlus is the ErrNotBase64 of a text that has lost more than its plus signs.
var errLostPlus = fmt.Errorf("%w: it has spaces, as where a form turns + into one, and with + in their place it is no whole receipt:"+
	" encode + as %%2B where it is sent", ErrNotBase64)

// parseInner reads what base64 has turned out to hold: a text once more, as
// clients that encode twice send it. What is no form of a receipt at all is
// refused for what the outer text is.
func parseInner(data []byte, left int, outer error) (Info, error) {
	info, err := parse(data, left)
	if errors.Is(err, ErrNotBase64) || errors.Is(err, ErrEmpty) {
		return Info{}, outer
	}
	return info, err
}

// isText reports whether bytes were meant to be read as letters, as base64 is.
func isText(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexByte(data, 0) < 0
}

func isCutOrMalformed(err error) bool {
	return errors.Is(err, ErrTruncated) || errors.Is(err, ErrMalformed)
}
