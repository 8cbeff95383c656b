package terminal

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// gap is what lies between two columns.
	gap = 2
	// narrowest is how far a column is shortened.
	narrowest = 12
)

// Table is a table in the making: End writes it, with columns as wide as they need.
// Only on a terminal that is too narrow are cells shortened and columns left out,
// and only those that were named for it.
type Table struct {
	page *Page
	rows [][]string
	// right has the first column to the right.
	right bool
	note  func(row int) string
	// cut may be shortened, spare left out, the first one first.
	cut, spare []int
	// least are the widths of the rows that End has written already.
	least []int
}

// Table is an empty table.
func (p *Page) Table() *Table { return &Table{page: p} }

// Figures is a table of numbers and what they are, with the numbers to the right.
func (p *Page) Figures() *Table { return &Table{page: p, right: true} }

// Annotated is a table with a heading, and below each row what is to be said of it
// for which 80 columns have no room; the empty text is nothing.
func (p *Page) Annotated(note func(row int) string) *Table { return &Table{page: p, note: note} }

// Cut names columns, from 0, whose cells may lose their middle.
func (t *Table) Cut(columns ...int) *Table {
	t.cut = columns
	return t
}

// Spare names columns, from 0, that may be left out, the first one first.
func (t *Table) Spare(columns ...int) *Table {
	t.spare = columns
	return t
}

// Row adds a row, whose cells are separated by tabs in the format.
func (t *Table) Row(format string, args ...any) {
	t.rows = append(t.rows, strings.Split(fmt.Sprintf(format, quoteAll(args)...), "\t"))
}

// End writes the table. Rows that are added later, and written by another End,
// stand below it.
func (t *Table) End() error {
	t.least = t.widths()
	t.write()
	t.rows = nil
	return t.page.err
}

// write changes a copy, since other rows may have to be fitted in another way.
func (t Table) write() {
	rows := make([][]string, len(t.rows))
	for i, row := range t.rows {
		rows[i] = slices.Clone(row)
	}
	t.rows = rows
	widths := t.fit()
	for i, row := range t.rows {
		t.page.Print(strings.TrimRight(t.line(row, widths), " ") + "\n")
		if t.note == nil || i == 0 { // the heading
			continue
		}
		if text := t.note(i - 1); text != "" {
			t.page.Wrap(5, Words(Quote(text))...)
		}
	}
}

func (t *Table) line(row []string, widths []int) string {
	var line strings.Builder
	for i, cell := range row {
		space := strings.Repeat(" ", max(0, widths[i]-columns(cell)))
		switch {
		case i == len(row)-1:
			line.WriteString(cell)
		case t.right:
			line.WriteString(strings.Repeat(" ", gap) + space + cell)
		default:
			line.WriteString(cell + space + strings.Repeat(" ", gap))
		}
	}
	return line.String()
}

// widths are those of the columns. A row of one cell is a remark below the table.
func (t *Table) widths() []int {
	widths := slices.Clone(t.least)
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if len(row) > 1 {
				widths[i] = max(widths[i], columns(cell))
			}
		}
	}
	return widths
}

// fit makes the table as narrow as the terminal, as far as it may be, and returns
// the widths of its columns.
func (t *Table) fit() []int {
	room := t.page.columns
	if room == 0 {
		return t.widths()
	}
	for len(t.spare) > 0 && t.total(t.narrow(0)) > room {
		t.leaveOut(t.spare[0])
	}
	widths := t.narrow(room)
	for _, row := range t.rows {
		for _, column := range t.cut {
			if len(row) > 1 && column < len(row) {
				row[column] = Short(row[column], widths[column])
			}
		}
	}
	return widths
}

func (t *Table) total(widths []int) int {
	total := gap * (len(widths) - 1)
	for _, width := range widths {
		total += width
	}
	return total
}

// narrow is the widths in a room, the widest column that may be cut giving way.
func (t *Table) narrow(room int) []int {
	widths := t.widths()
	for t.total(widths) > room {
		widest := -1
		for _, column := range t.cut {
			if column < len(widths) && widths[column] > narrowest && (widest < 0 || widths[column] > widths[widest]) {
				widest = column
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// leaveOut removes a column, and counts those behind it from there.
func (t *Table) leaveOut(column int) {
	for i, row := range t.rows {
		if len(row) > 1 && column < len(row) {
			t.rows[i] = slices.Delete(row, column, column+1)
		}
	}
	if column < len(t.least) {
		t.least = slices.Delete(slices.Clone(t.least), column, column+1)
	}
	behind := func(columns []int) (left []int) {
		for _, c := range columns {
			switch {
			case c < column:
				left = append(left, c)
			case c > column:
				left = append(left, c-1)
			}
		}
		return left
	}
	t.cut, t.spare = behind(t.cut), behind(t.spare)
}
