package intake

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errTooLong is for a line that does not fit into the limit.
var errTooLong = errors.New("line too long")

// lines cuts an input into lines and can take some of them back.
type lines struct {
	r   *bufio.Reader
	max int // bytes of a line, or of the lines that are appended to each other

	back []byte // given back, and read again before r from pos on
	pos  int
	open bool // the last part that was read had no line end

	line   int64 // number of the line that comes next, or is being read
	offset int64 // bytes read so far
}

func newLines(r io.Reader, max int) *lines {
	return &lines{r: bufio.NewReaderSize(r, 64<<10), max: max, line: 1}
}

// next appends the next line to buf, with its ending. It stops with errTooLong
// as soon as buf is longer than the limit: what is in buf then is read, and
// skip passes over the rest. It is io.EOF only where there is nothing to read.
func (l *lines) next(buf []byte) ([]byte, error) {
	start := len(buf)
	for {
		part, err := l.part()
		buf = append(buf, part...)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return buf, err
		case len(buf) > l.max:
			return buf, errTooLong
		case err != nil && len(buf) == start:
			return buf, io.EOF
		case err != nil || !l.open:
			return buf, nil
		}
	}
}

// skip passes over the rest of a line that was too long.
func (l *lines) skip() error {
	for l.open {
		if _, err := l.part(); err != nil {
			return err
		}
	}
	return nil
}

// part returns a line or a piece of one. It is valid until the next call.
func (l *lines) part() (part []byte, err error) {
	if l.pos < len(l.back) {
		part = l.back[l.pos:]
		if end := bytes.IndexByte(part, '\n'); end >= 0 {
			part = part[:end+1]
		}
		l.pos += len(part)
	} else {
		l.back, l.pos = nil, 0
		if part, err = l.r.ReadSlice('\n'); errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
	}
	l.offset += int64(len(part))
	l.open = !bytes.HasSuffix(part, []byte("\n"))
	if !l.open {
		l.line++
	}
	return part, err
}

// unread gives back the last bytes that were read. What was given back before
// is mostly still there, and is not copied again.
func (l *lines) unread(last []byte) {
	l.offset -= int64(len(last))
	l.line -= int64(bytes.Count(last, []byte("\n")))
	if l.pos >= len(last) {
		l.pos -= len(last)
		return
	}
	l.back, l.pos = last, 0
}
