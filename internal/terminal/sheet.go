package terminal

import (
	"fmt"
	"slices"
	"time"

	"revalidator/internal/phrase"
)

// Sheet writes labelled lines, broken into those of a terminal.
type Sheet struct {
	*Page
	// Now is what times are compared with.
	Now time.Time
	// Indent is what comes before a label, and Label its width.
	Indent, Label int
}

// Row writes a label and pieces of text that stay whole, and nothing where there
// are none.
func (s Sheet) Row(label string, pieces ...string) {
	pieces = slices.DeleteFunc(pieces, func(piece string) bool { return piece == "" })
	if len(pieces) == 0 {
		return
	}
	text := s.wrapped(s.Indent+s.Label, pieces)
	// A label that is longer than its column pushes the first line only.
	s.Printf("%*s%-*s", s.Indent, "", s.Label, label)
	s.Print(text[s.Indent+s.Label:])
}

// Sentence is Row for a text that may be broken at each space.
func (s Sheet) Sentence(label, format string, args ...any) {
	s.Row(label, Words(fmt.Sprintf(format, quoteAll(args)...))...)
}

// Date is Row for a time, where there is one.
func (s Sheet) Date(label string, t time.Time) {
	if !t.IsZero() {
		s.Row(label, phrase.TimeAgo(t, s.Now))
	}
}

// DateIf is Date for a time that may be nil.
func (s Sheet) DateIf(label string, t *time.Time) {
	if t != nil {
		s.Date(label, *t)
	}
}

// Items writes a labelled list, its things separated by commas.
func (s Sheet) Items(label string, things ...string) {
	if len(things) == 0 {
		things = []string{"none"}
	}
	for i := range things[:len(things)-1] {
		things[i] += ","
	}
	s.Row(label, things...)
}

// Each writes a sentence for each of the first things of a list, and how many more
// there are.
func Each[T any](s Sheet, label string, things []T, text func(T) string) {
	for _, thing := range things[:min(len(things), phrase.Most)] {
		s.Sentence(label, "%s", text(thing))
		label = ""
	}
	if more := len(things) - phrase.Most; more > 0 {
		s.Row("", fmt.Sprintf("and %d more", more))
	}
}
