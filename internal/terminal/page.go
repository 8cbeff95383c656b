package terminal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// The colors of a terminal that mean something.
const (
	Green  = "32"
	Yellow = "33"
	Red    = "31"
)

// width is how many columns a text may have.
const width = 80

// Page is a text for a person. It keeps the first error of its writer and writes
// nothing after it, so that a text in many lines need not look at each.
type Page struct {
	out   io.Writer
	color bool
	err   error
}

// Write implements io.Writer.
func (p *Page) Write(b []byte) (n int, err error) {
	if p.err == nil {
		n, p.err = p.out.Write(b)
	}
	return n, p.err
}

// Print writes a text as it is.
func (p *Page) Print(text string) { _, _ = io.WriteString(p, text) }

// Printf writes a text by a format.
func (p *Page) Printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// Paint is a text in a color, where a person looks at it.
func (p *Page) Paint(color, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// Table is a table in the making: End writes it, with columns as wide as they need.
type Table struct {
	page *Page
	rows *tabwriter.Writer
	// text and note are of a table with notes.
	text *strings.Builder
	note func(row int) string
}

// Table is an empty table.
func (p *Page) Table() *Table { return &Table{page: p, rows: tabwriter.NewWriter(p, 0, 0, 2, ' ', 0)} }

// Figures is a table of numbers and what they are, with the numbers to the right.
func (p *Page) Figures() *Table {
	return &Table{page: p, rows: tabwriter.NewWriter(p, 0, 0, 2, ' ', tabwriter.AlignRight)}
}

// Annotated is a table with a heading, and below each row what is to be said of it
// for which 80 columns have no room; the empty text is nothing.
func (p *Page) Annotated(note func(row int) string) *Table {
	text := new(strings.Builder)
	return &Table{page: p, rows: tabwriter.NewWriter(text, 0, 0, 2, ' ', 0), text: text, note: note}
}

// Row adds a row, whose cells are separated by tabs.
func (t *Table) Row(format string, args ...any) { fmt.Fprintf(t.rows, format+"\n", args...) }

// End writes the table.
func (t *Table) End() {
	_ = t.rows.Flush() // the page keeps the error
	if t.note == nil {
		return
	}
	row := -1 // the heading
	for line := range strings.Lines(t.text.String()) {
		t.page.Print(line)
		if row >= 0 {
			if text := t.note(row); text != "" {
				t.page.Print(Wrap(5, strings.Fields(text)...))
			}
		}
		row++
	}
}

// Wrap puts pieces of text, which stay whole, into lines of a terminal, each
// indented.
func Wrap(indent int, pieces ...string) string {
	var lines strings.Builder
	column := 0
	for _, piece := range pieces {
		switch {
		case column == 0 || column+1+len(piece) > width:
			if column > 0 {
				lines.WriteString("\n")
			}
			lines.WriteString(strings.Repeat(" ", indent) + piece)
			column = indent + len(piece)
		default:
			lines.WriteString(" " + piece)
			column += 1 + len(piece)
		}
	}
	return lines.String() + "\n"
}

// Short is a text in a column of a width, without its middle where that is too
// narrow.
func Short(text string, width int) string {
	letters := []rune(text)
	if len(letters) <= width {
		return text
	}
	tail := (width - 1) / 2
	return string(letters[:width-1-tail]) + "…" + string(letters[len(letters)-tail:])
}
