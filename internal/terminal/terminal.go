// Package terminal holds what the commands of a program share: arguments, prompts,
// input, progress, tables, colors, and results as text or JSON.
package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Terminal is where a command reads, prints and asks. Results go to Out and nothing
// else does; progress, questions and notes go to Err.
type Terminal struct {
	In       io.Reader
	Out, Err io.Writer
	// NoColor leaves out colors on a terminal too.
	NoColor bool
	// JSON, Quiet and Wide are the flags --json, --quiet and --wide.
	JSON, Quiet, Wide bool
}

// AddJSON gives a command that prints a result the flag --json.
func (t *Terminal) AddJSON(c *cobra.Command) {
	c.Flags().BoolVar(&t.JSON, "json", false, "print one JSON document, for scripts")
}

// Print prints a result: the value itself as JSON, or what text makes of it. Where a
// part of it could not be written, as on a full disk, that is its error.
func (t *Terminal) Print(value any, text func(*Page)) error {
	if t.JSON {
		encoder := json.NewEncoder(t.Out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	page := t.Page(t.Out)
	text(page)
	return page.err
}

// Show is Print with a text that takes the value.
func Show[T any](t *Terminal, value T, text func(*Page, T)) error {
	return t.Print(value, func(p *Page) { text(p, value) })
}

// PrintLine is Print for a result whose text is one line.
func (t *Terminal) PrintLine(value any, format string, args ...any) error {
	return t.Print(value, func(p *Page) { p.Printf(format+"\n", args...) })
}

// Page is a page that is written to out, in colors and in the columns of the
// terminal where a person looks at results.
func (t *Terminal) Page(out io.Writer) *Page {
	p := &Page{out: out, color: IsTerminal(t.Out) && !t.NoColor}
	if !t.Wide {
		p.columns, _ = size(t.Out)
	}
	return p
}

// size is that of the terminal of a stream, 0 where there is none.
func size(stream io.Writer) (columns, lines int) {
	file, ok := stream.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// Note tells a person something next to the result, unless --quiet was given.
func (t *Terminal) Note(format string, args ...any) {
	if !t.Quiet {
		fmt.Fprintf(t.Err, format+"\n", quoteAll(args)...)
	}
}

// IsTerminal reports whether a person looks at the stream.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
