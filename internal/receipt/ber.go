package receipt

import (
	"bytes"
	"errors"
)

// Identifier octets of ASN.1, with the bit for a constructed encoding where
// the type is always constructed.
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagOID         = 0x06
	tagUTF8String  = 0x0c
	tagIA5String   = 0x16
	tagSequence    = 0x30
	tagSet         = 0x31
	tagExplicit0   = 0xa0

	constructed = 0x20
)

// maxDepth is how deep elements of indefinite length may nest. Real receipts
// need six; the limit keeps a hostile one from growing the stack.
const maxDepth = 32

// The causes of ErrTruncated and ErrMalformed below the container.
var (
	errShort   = errors.New("an element reaches beyond the end")
	errTooDeep = errors.New("elements are nested too deep")
	errLength  = errors.New("an element has an impossible length")
	errTag     = errors.New("an unexpected element")
	errDate    = errors.New("a date that is not RFC 3339")
)

// An element is one tag-length-value of BER. Its body shares memory with the
// input. encoding/asn1 and cryptobyte read only DER, and Xcode signs BER with
// indefinite lengths.
type element struct {
	tag  byte
	body []byte
}

// next splits the first element off b.
func next(b []byte) (e element, rest []byte, err error) { return nextAt(b, 0) }

func nextAt(b []byte, depth int) (e element, rest []byte, err error) {
	if len(b) < 2 {
		return element{}, nil, errShort
	}
	tag := b[0]
	if tag&0x1f == 0x1f { // a tag number above 30: no receipt has one
		return element{}, nil, errTag
	}
	if b[1] == 0x80 {
		return indefinite(b, depth)
	}
	length, header, err := definiteLength(b[1:])
	if err != nil {
		return element{}, nil, err
	}
	b = b[1+header:]
	if length > len(b) {
		return element{}, nil, errShort
	}
	return element{tag, b[:length]}, b[length:], nil
}

// definiteLength reads a length and reports how many bytes it took.
func definiteLength(b []byte) (length, size int, err error) {
	if b[0] < 0x80 {
		return int(b[0]), 1, nil
	}
	n := int(b[0] & 0x7f)
	if n > 4 {
		return 0, 0, errLength
	}
	if len(b) < 1+n {
		return 0, 0, errShort
	}
	var l uint32
	for _, c := range b[1 : 1+n] {
		l = l<<8 | uint32(c)
	}
	if l > 1<<31-1 {
		return 0, 0, errLength
	}
	return int(l), 1 + n, nil
}

// indefinite splits off an element whose end is two zero octets, which are
// found only by walking over the elements inside.
func indefinite(b []byte, depth int) (e element, rest []byte, err error) {
	if b[0]&constructed == 0 {
		return element{}, nil, errLength
	}
	if depth == maxDepth {
		return element{}, nil, errTooDeep
	}
	body := b[2:]
	for rest = body; !bytes.HasPrefix(rest, []byte{0, 0}); {
		if _, rest, err = nextAt(rest, depth+1); err != nil {
			return element{}, nil, err
		}
	}
	return element{b[0], body[:len(body)-len(rest)]}, rest[2:], nil
}

// expect splits off the first element of b and returns its body. It must have
// the tag.
func expect(b []byte, tag byte) (body, rest []byte, err error) {
	e, rest, err := next(b)
	if err == nil && e.tag != tag {
		err = errTag
	}
	return e.body, rest, err
}

// octets returns the content of an OCTET STRING. One that BER cuts in pieces
// is put together, which copies it only where there are several.
func octets(e element) ([]byte, error) { return octetsAt(e, 0) }

func octetsAt(e element, depth int) ([]byte, error) {
	switch {
	case e.tag == tagOctetString:
		return e.body, nil
	case e.tag != tagOctetString|constructed:
		return nil, errTag
	case depth == maxDepth:
		return nil, errTooDeep
	}
	var whole []byte
	for rest := e.body; len(rest) > 0; {
		var piece element
		var err error
		if piece, rest, err = next(rest); err != nil {
			return nil, err
		}
		content, err := octetsAt(piece, depth+1)
		if err != nil {
			return nil, err
		}
		if whole == nil {
			whole = content[:len(content):len(content)]
		} else {
			whole = append(whole, content...)
		}
	}
	return whole, nil
}
