package intake

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// csvRecords reads CSV. encoding/csv splits each record into its fields, but
// the records are found here: on its own it keeps all that follows an opening
// quote, which may be the rest of the file.
type csvRecords struct {
	lines   *lines
	columns []string
}

// openCSV reads the header.
func openCSV(l *lines) (*csvRecords, error) {
	c := &csvRecords{lines: l}
	text, err := c.text()
	if errors.Is(err, io.EOF) {
		err = errors.New("the input is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("csv header: %w", err)
	}
	if c.columns, err = fields(text); err != nil {
		return nil, fmt.Errorf("csv header: %w", err)
	}
	for i, name := range c.columns {
		c.columns[i] = strings.ToLower(strings.TrimSpace(name))
	}
	for _, names := range [][]string{{"bundle_id"}, {"customer_ref"}, append(receiptNames[:len(receiptNames):len(receiptNames)], signedName)} {
		if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(c.columns, name) }) {
			return nil, fmt.Errorf("csv header: no column %s: the first line must name bundle_id, customer_ref and receipt, separated by commas", names[0])
		}
	}
	return c, nil
}

// text returns the lines of the next record: as many as it takes to close
// every quote. Blank lines are passed over. Lines that do not come together as
// a record are still returned as one, for next to find out.
func (c *csvRecords) text() (text []byte, err error) {
	for len(bytes.TrimSpace(text)) == 0 {
		if text, err = c.lines.next(text[:0]); err != nil {
			return text, err
		}
	}
	for quotes, counted := 0, 0; ; {
		quotes += bytes.Count(text[counted:], []byte(`"`))
		if quotes%2 == 0 {
			return text, nil
		}
		counted = len(text)
		if text, err = c.lines.next(text); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
				return text, nil
			}
			return text, err
		}
	}
}

// next returns the next record. Where several lines do not make a record, one
// of them has a quote too many: the first is refused, and the others are read
// again, so that one bad line never takes good ones with it.
func (c *csvRecords) next() (record, error) {
	text, err := c.text()
	rec := record{line: c.lines.line - newlines(text)}
	rec.lastLine = rec.line
	switch {
	case errors.Is(err, errTooLong):
		return c.lines.tooLong(rec)
	case err != nil:
		return record{}, readError(rec.line, err)
	}
	if values, err := c.values(text); err == nil {
		rec.row = rowOf(c.columns, values)
	} else {
		if first := bytes.IndexByte(text, '\n') + 1; first > 0 {
			c.lines.unread(text[first:])
			text = text[:first]
		}
		rec.refused = refuse(ReasonBadLine, "%v", err)
	}
	if len(rec.row.receipt) == 0 || !utf8.Valid(text) {
		rec.row.line, rec.row.columns = bytes.TrimRight(text, "\r\n"), c.columns
	}
	rec.end, rec.size = c.lines.offset, len(text)
	rec.lastLine += newlines(bytes.TrimSuffix(text, []byte("\n")))
	return rec, nil
}

func newlines(text []byte) int64 { return int64(bytes.Count(text, []byte("\n"))) }

// values splits a record into as many fields as the header has.
func (c *csvRecords) values(text []byte) ([]string, error) { return valuesOf(c.columns, text) }

func valuesOf(columns []string, text []byte) ([]string, error) {
	values, err := fields(text)
	if err == nil && len(values) != len(columns) {
		err = fmt.Errorf("%d columns where the header has %d", len(values), len(columns))
	}
	return values, err
}

// fields splits one record. Its errors say where it is wrong, not what is
// there.
func fields(text []byte) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(text))
	values, err := r.Read()
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		return nil, fmt.Errorf("byte %d: %w: quote the field and double the quotes in it", parse.Column, parse.Err)
	case err != nil:
		return nil, err
	case r.InputOffset() != int64(len(text)):
		return nil, errors.New("a quote that is opened and not closed")
	}
	return values, nil
}

func rowOf(columns, values []string) row {
	var r row
	for i, value := range values {
		switch name := columns[i]; {
		case name == "bundle_id":
			r.bundleID = &values[i]
		case name == "customer_ref":
			r.customerRef = &values[i]
		case slices.Contains(receiptNames, name) && len(r.receipt) == 0:
			r.receipt, r.isSigned = []byte(value), false
		case name == signedName && len(r.receipt) == 0 && value != "":
			r.receipt, r.isSigned = []byte(value), true
		}
	}
	return r
}
