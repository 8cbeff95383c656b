package terminal

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
)

// The colors of a terminal that mean something.
const (
	Green  = "32"
	Yellow = "33"
	Red    = "31"
)

// usualColumns is how wide a text is where nobody knows better.
const usualColumns = 80

// Page is a text for a person. It keeps the first error of its writer and writes
// nothing after it, so that a text in many lines need not look at each.
type Page struct {
	out   io.Writer
	color bool
	// columns are those of the terminal, 0 where there is none or all is wanted:
	// nothing is cut there.
	columns int
	// lines is how many lines have room, 0 where all have.
	lines int
	err   error
}

// Write implements io.Writer.
func (p *Page) Write(b []byte) (n int, err error) {
	if p.err == nil {
		_, p.err = p.out.Write(bytes.ReplaceAll(b, []byte(mark), []byte("\x1b")))
	}
	return len(b), p.err
}

// Print writes a text as it is: it has no data in it.
func (p *Page) Print(text string) { _, _ = io.WriteString(p, text) }

// Printf writes a text by a format, with data that is quoted where it must be.
func (p *Page) Printf(format string, args ...any) { fmt.Fprintf(p, format, quoteAll(args)...) }

// Part is what a page would show, on a page of its own, with how many lines that
// is, so that what comes before it can be made to fit.
func (p *Page) Part(write func(*Page)) (text string, lines int) {
	var out strings.Builder
	write(&Page{out: &out, color: p.color, columns: p.columns})
	return out.String(), strings.Count(out.String(), "\n")
}

// Room is how many lines have room on the page.
func (p *Page) Room() int {
	if p.lines == 0 {
		return math.MaxInt
	}
	return p.lines
}

// Paint is a text in a color, where a person looks at it.
func (p *Page) Paint(color, text string) string {
	if !p.color {
		return text
	}
	return mark + "[" + color + "m" + Quote(text) + mark + "[0m"
}

// Wrap writes pieces of text, which stay whole, in lines of the terminal, each
// indented.
func (p *Page) Wrap(indent int, pieces ...string) { p.Print(p.wrapped(indent, pieces)) }

// Sentence writes a text by a format, as Printf, that may be broken at each space.
func (p *Page) Sentence(format string, args ...any) {
	p.Wrap(0, Words(fmt.Sprintf(format, quoteAll(args)...))...)
}

// wrapped has pieces whole, but for those that no line has room for.
func (p *Page) wrapped(indent int, pieces []string) string {
	width := cmp.Or(p.columns, usualColumns)
	var quoted []string
	for _, piece := range pieces {
		if piece = Quote(piece); columns(piece) > width-indent {
			quoted = append(quoted, Words(piece)...)
		} else {
			quoted = append(quoted, piece)
		}
	}
	return wrap(width, indent, quoted)
}

// words are what a line may be broken between: a time stays whole.
var words = regexp.MustCompile(`\S*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+|\S+`)

// Words are the pieces of a text that may be broken at each space but for those of
// a time.
func Words(text string) []string { return words.FindAllString(text, -1) }

// Wrap puts pieces of a text of the program's own, such as a help, into lines, each
// indented.
func Wrap(indent int, pieces ...string) string { return wrap(usualColumns, indent, pieces) }

func wrap(width, indent int, pieces []string) string {
	var lines strings.Builder
	column := 0
	for _, piece := range pieces {
		switch {
		case column == 0 || column+1+columns(piece) > width:
			if column > 0 {
				lines.WriteString("\n")
			}
			lines.WriteString(strings.Repeat(" ", indent) + piece)
			column = indent + columns(piece)
		default:
			lines.WriteString(" " + piece)
			column += 1 + columns(piece)
		}
	}
	return lines.String() + "\n"
}
