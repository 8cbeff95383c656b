package appstore

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

const (
	// window is the whole memory that reading a reply of any length takes.
	window = 32 << 10
	// maxText is the longest name or text that is kept, in bytes as sent. It
	// must stay well below window.
	maxText = 4 << 10
)

// scanner pulls JSON tokens through a fixed window. It exists because
// encoding/json and encoding/json/jsontext hold each string token whole, and
// latest_receipt alone is megabytes of base64 that nobody here reads; skip
// passes over a value of any length without keeping it. It accepts what
// Apple was seen to send: a byte order mark, control characters anywhere.
//
// The first error sticks: every method then returns at once with a zero
// value, so that callers look at err once, at the end. A slice that a method
// returns is valid until the next call.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	left     int64 // bytes that may still be read

	depth, maxDepth int
	first           bool // nothing was read yet of the innermost object or array
	lost            bool // the last scalar was there, and could not be kept
	err             error

	// What was accepted in spite of its form or left out, for the operator to know.
	controls, longTexts, misshapen int
}

func newScanner(r io.Reader, l Limits) *scanner {
	return &scanner{r: r, buf: windows.Get().(*[window]byte)[:], left: l.MaxReplyBytes, maxDepth: l.MaxDepth}
}

// windows are used again by one reply after the other.
var windows = sync.Pool{New: func() any { return new([window]byte) }}

// close gives the window back. No slice of it may be in use any more.
func (s *scanner) close() {
	windows.Put((*[window]byte)(s.buf))
	s.buf = nil
}

// readError is a fault of the underlying reader, as opposed to one of the JSON.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// malformed fails with a position and never with the text found there.
func (s *scanner) malformed(what string) {
	s.fail(fmt.Errorf("%w: %s", ErrMalformedReply, what))
}

// fill moves what is left of the window to its front and reads behind it. It
// returns false, with err set, when there is nothing more to read.
func (s *scanner) fill() bool {
	if s.err != nil {
		return false
	}
	s.end = copy(s.buf, s.buf[s.pos:s.end])
	s.pos = 0
	for range 100 { // as bufio does: a reader may return nothing a few times
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.left -= int64(n)
		switch {
		case s.left < 0:
			s.fail(fmt.Errorf("%w: too many bytes", ErrReplyTooLarge))
		case n > 0:
			return true // an error that came along comes again
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			s.fail(ErrCutReply)
		case err != nil:
			s.fail(readError{err})
		default:
			continue
		}
		return false
	}
	s.fail(readError{io.ErrNoProgress})
	return false
}

// peek returns the first byte of the next token, or 0 after an error.
func (s *scanner) peek() byte {
	for {
		for s.pos < s.end {
			if c := s.buf[s.pos]; c > ' ' {
				return c
			}
			s.pos++
		}
		if !s.fill() {
			return 0
		}
	}
}

// enter reads the bracket that opens an object or array.
func (s *scanner) enter(open byte) {
	if s.peek() != open {
		s.malformed("bracket expected")
		return
	}
	if s.depth++; s.depth > s.maxDepth {
		s.fail(fmt.Errorf("%w: nested too deep", ErrReplyTooLarge))
		return
	}
	s.pos++
	s.first = true
}

// more reports whether another member or element follows, which the caller
// must then read; otherwise it reads the closing bracket.
func (s *scanner) more(closing byte) bool {
	c := s.peek()
	switch {
	case s.err != nil:
		return false
	case c == closing:
		s.pos++
		s.depth--
		s.first = false
		return false
	case s.first:
		s.first = false
		return true
	case c != ',':
		s.malformed("comma expected")
		return false
	}
	s.pos++
	return true // of a comma too many, the caller's next read complains
}

// name reads a member's name and its colon. A name too long to keep reads as
// an empty one.
func (s *scanner) name() []byte {
	if s.peek() != '"' {
		s.malformed("name expected")
		return nil
	}
	name, _ := s.quoted()
	if s.pos < s.end && s.buf[s.pos] == ':' { // at once, so that name stays in the window
		s.pos++
		return name
	}
	name = bytes.Clone(name)
	if s.peek() != ':' {
		s.malformed("colon expected")
		return nil
	}
	s.pos++
	return name
}

// skip passes over the next value, whatever it is.
func (s *scanner) skip() {
	switch s.peek() {
	case '{':
		for s.enter('{'); s.more('}'); {
			s.name()
			s.skip()
		}
	case '[':
		for s.enter('['); s.more(']'); {
			s.skip()
		}
	case '"':
		s.skipText()
	default:
		s.literal()
	}
}

// finish checks that nothing but blanks follows, which also reads the reply to
// its end, so that its connection can be used again.
func (s *scanner) finish() error {
	if s.err != nil {
		return s.err
	}
	if s.peek() != 0 {
		s.malformed("text after the reply")
	}
	if s.err == ErrCutReply { // here the end is where it should be
		return nil
	}
	return s.err
}
