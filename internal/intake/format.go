package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Format is how a file holds receipts. The zero value means that the first
// byte of the input decides.
type Format string

// The formats that Run reads.
const (
	// NDJSON is one JSON object a line, with the texts bundle_id,
	// customer_ref (which may be a number) and receipt, in base64. receipt may
	// also be named receipt_data or receipt-data. Other keys are ignored.
	NDJSON Format = "ndjson"
	// CSV is comma-separated, after a header row with the same names in any
	// order. A quoted field may go over several lines.
	CSV Format = "csv"
)

// Validate reports a value that is neither a known format nor empty.
func (f Format) Validate() error {
	switch f {
	case NDJSON, CSV, "":
		return nil
	}
	return fmt.Errorf("format %q: want %s or %s", string(f), NDJSON, CSV)
}

// FormatOf tells the format by a file name's extension: csv, ndjson, jsonl or
// json. Any other name gives the zero value.
func FormatOf(name string) Format {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return CSV
	case ".ndjson", ".jsonl", ".json":
		return NDJSON
	}
	return ""
}

// A record is one receipt as the input has it: in columns, as CSV does, or
// still as the JSON object that a worker will read.
type record struct {
	line, lastLine int64 // the first and the last line of the input
	end            int64 // bytes of the input up to its end
	size           int   // bytes of its own

	row     row
	json    []byte
	refused *rejection // it could not even be split into columns
}

// records reads a format. next returns io.EOF after the last record.
type records interface{ next() (record, error) }

// byteOrderMark is what some editors and spreadsheets put before UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

func openRecords(r io.Reader, format Format, maxLine int) (records, error) {
	if err := format.Validate(); err != nil {
		return nil, err
	}
	l := newLines(r, maxLine)
	start, err := l.r.Peek(len(byteOrderMark) + 1) // more could wait for a slow pipe
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte(byteOrderMark)) {
		n, _ := l.r.Discard(len(byteOrderMark))
		l.offset, start = int64(n), start[n:]
	}
	if isUTF16(start) {
		return nil, errUTF16
	}
	if format == "" {
		format = formatByStart(bytes.TrimSpace(start))
	}
	if format == CSV {
		return openCSV(l)
	}
	return &ndjson{lines: l}, nil
}

// errNotLines is for an input that is no file of lines at all. It ends an import
// before it begins: a rejected line for each of its lines would help nobody.
var errNotLines = errors.New("no receipts one a line")

var errUTF16 = fmt.Errorf("%w: the input is UTF-16: make it UTF-8, as `iconv -f UTF-16 -t UTF-8` does", errNotLines)

// isUTF16 reports whether a text starts as Windows writes what it calls Unicode.
func isUTF16(start []byte) bool {
	if len(start) < 2 {
		return false
	}
	return start[0] == 0xff && start[1] == 0xfe || start[0] == 0xfe && start[1] == 0xff || start[0] == 0 != (start[1] == 0)
}

// notLines says by its first line what else an input is, if it is.
func notLines(first []byte) error {
	switch {
	case string(first) == "{":
		return fmt.Errorf("%w: the input is JSON over several lines: write one object a line, as `jq -c .` does", errNotLines)
	case string(first) == "[", string(first) == "[{":
		return fmt.Errorf("%w: the input is a JSON array over several lines: write one object a line, as `jq -c '.[]'` does", errNotLines)
	case bytes.Contains(first[:min(len(first), 1<<10)], []byte(`"primaryKeyId"`)):
		return fmt.Errorf("%w: the input is a file of encryption keys: keep it secret", errNotLines)
	}
	return nil
}

// formatByStart takes an array for NDJSON too: each of its lines is refused
// with the way to fix it.
func formatByStart(start []byte) Format {
	if len(start) == 0 || start[0] == '{' || start[0] == '[' {
		return NDJSON
	}
	return CSV
}

type ndjson struct {
	lines *lines
	begun bool // a line that is not blank was read
}

// next returns the next line that is not blank.
func (n *ndjson) next() (record, error) {
	for {
		rec := record{line: n.lines.line, lastLine: n.lines.line}
		begin := n.lines.offset
		text, err := n.lines.next(nil)
		if errors.Is(err, errTooLong) {
			n.begun = true
			return n.lines.tooLong(rec)
		}
		if err != nil {
			return record{}, readError(rec.line, err)
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if !n.begun {
			if n.begun, err = true, notLines(text); err != nil {
				return record{}, err
			}
		}
		rec.json, rec.end = text, n.lines.offset
		rec.size = int(n.lines.offset - begin)
		return rec, nil
	}
}

// tooLong refuses the line of rec and passes over it. Nothing of it is kept,
// so it has no size.
func (l *lines) tooLong(rec record) (record, error) {
	if err := l.skip(); err != nil && !errors.Is(err, io.EOF) {
		return record{}, readError(rec.line, err)
	}
	rec.refused = refuse(ReasonLineTooLong, "the line has more than %d bytes", l.max)
	rec.end = l.offset
	return rec, nil
}

func readError(line int64, err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("read line %d: %w", line, err)
}
