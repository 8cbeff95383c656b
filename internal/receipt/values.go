package receipt

import (
	"time"
	"unicode/utf8"
)

// maxText is the longest text that is taken from a receipt, in bytes. Real ones
// are names and numbers; the limit keeps a forged megabyte out of the database.
const maxText = 1024

// text reads a UTF8String or an IA5String. A value without bytes is no text.
func text(value []byte) (string, error) {
	if len(value) == 0 {
		return "", nil
	}
	e, _, err := next(value)
	switch {
	case err != nil:
		return "", err
	case e.tag != tagUTF8String && e.tag != tagIA5String:
		return "", errTag
	case len(e.body) > maxText:
		return "", errLength
	case !utf8.Valid(e.body):
		return "", errTag
	}
	return string(e.body), nil
}

// xcodeDate is how Xcode wrote dates until 2021: the local time and its offset
// without a colon.
const xcodeDate = "2006-01-02T15:04:05-0700"

// date reads a text in RFC 3339. An empty text means that there is no date.
func date(value []byte) (time.Time, error) {
	s, err := text(value)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse(xcodeDate, s); err != nil {
			return time.Time{}, errDate
		}
	}
	return t.UTC(), nil
}

func integer(value []byte) (int64, error) {
	if len(value) == 0 {
		return 0, nil
	}
	body, _, err := expect(value, tagInteger)
	if err != nil {
		return 0, err
	}
	n, ok := smallInt(body)
	if !ok {
		return 0, errLength
	}
	return n, nil
}

// smallInt reads the body of an INTEGER of at most 64 bits.
func smallInt(body []byte) (n int64, ok bool) {
	if len(body) == 0 || len(body) > 8 {
		return 0, false
	}
	n = int64(int8(body[0]))
	for _, c := range body[1:] {
		n = n<<8 | int64(c)
	}
	return n, true
}
