package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// printer is how results are printed: for people, or with --json as one document
// for scripts. Results go to standard output and nothing else does.
type printer struct {
	out  io.Writer
	json bool
	// color is whether a person looks at standard output, and wants color.
	color bool
}

// addOutputFlag gives a command that lists or reports something the flag --json.
func (p *program) addOutputFlag(c *cobra.Command) {
	c.Flags().BoolVar(&p.asJSON, "json", false, "print one JSON document, for scripts")
}

// printer is where a command's result goes. It is asked for when flags are read.
func (p *program) printer() printer {
	return printer{out: p.stdout, json: p.asJSON, color: isTerminal(p.stdout) && !p.isSet("NO_COLOR")}
}

// print prints a result: the value itself as JSON, or what text makes of it.
// Where a part of it could not be written, as on a full disk, that is its error.
func (o printer) print(value any, text func(io.Writer) error) error {
	if !o.json {
		out := &checkedWriter{out: o.out}
		if err := text(out); err != nil {
			return err
		}
		return out.err
	}
	encoder := json.NewEncoder(o.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// checkedWriter keeps the first error of a writer, and writes nothing after it, so that a
// text in many lines need not look at each.
type checkedWriter struct {
	out io.Writer
	err error
}

func (w *checkedWriter) Write(b []byte) (n int, err error) {
	if w.err == nil {
		n, w.err = w.out.Write(b)
	}
	return n, w.err
}

// The colors of a terminal that mean something.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
)

// paint colors a text where a person looks at it.
func (o printer) paint(color, text string) string {
	if !o.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// note tells a person something beside the result, on standard error, unless
// --quiet was given.
func (p *program) note(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.stderr, format+"\n", args...)
	}
}

// isSet reports whether a variable of the environment is there and not empty.
func (p *program) isSet(name string) bool {
	for _, variable := range p.environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok && value != "" {
			return true
		}
	}
	return false
}

// annotated prints a table with a heading, and below each row what is to be said
// of it for which 80 columns have no room; the empty text is nothing.
func annotated(out io.Writer, table string, note func(row int) string) error {
	row := -1 // the heading
	for line := range strings.Lines(table) {
		if row >= 0 {
			if text := note(row); text != "" {
				line += indented(strings.Fields(text), 5, 80)
			}
		}
		if _, err := io.WriteString(out, line); err != nil {
			return err
		}
		row++
	}
	return nil
}

// when is a time for a person: to the minute, with its zone.
func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// whenAgo is when, and how long that is from now.
func whenAgo(t, now time.Time) string {
	return when(t) + " (" + humanize.RelTime(t, now, "ago", "from now") + ")"
}
