package terminal

import (
	"bytes"
	"testing"
)

// odd is a letter with a combining accent, a wide character and a plain one: four
// columns.
const odd = "e\u0301世x"

// TestTable writes the same rows where nobody looks and on terminals: nothing is
// cut but what may be, and only where there is no room.
func TestTable(t *testing.T) {
	t.Parallel()
	const whole = `ID  CUSTOMER                            STATE   NEXT
7   a-customer-with-a-rather-long-name  active  never
8   ` + odd + `                                active  never
and 1 more
`
	tests := []struct {
		name    string
		columns int
		want    string
	}{
		{"no terminal", 0, whole},
		{"wide terminal", 160, whole},
		{"just wide enough", 54, whole},
		{"narrow terminal", 40, `ID  CUSTOMER               STATE   NEXT
7   a-customer…-long-name  active  never
8   ` + odd + `                   active  never
and 1 more
`},
		{"too narrow for all columns", 26, `ID  CUSTOMER        STATE
7   a-custo…g-name  active
8   ` + odd + `            active
and 1 more
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			table := (&Page{out: &out, columns: test.columns}).Table().Cut(1).Spare(3)
			table.Row("ID\tCUSTOMER\tSTATE\tNEXT")
			table.Row("%d\t%s\t%s\t%s", 7, "a-customer-with-a-rather-long-name", "active", "never")
			table.Row("%d\t%s\t%s\t%s", 8, odd, "active", "never")
			table.Row("and %d more", 1)
			if err := table.End(); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != test.want {
				t.Errorf("got:\n%swant:\n%s", got, test.want)
			}
		})
	}
}

// TestTableGoesOn adds rows to a table that was written: they stand below.
func TestTableGoesOn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := (&Page{out: &out}).Table()
	for _, product := range []string{"PRODUCT", "yearly.plan", "pro"} {
		table.Row("%s\tx", product)
		_ = table.End()
	}
	if got, want := out.String(), "PRODUCT  x\nyearly.plan  x\npro          x\n"; got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

type named string

// TestQuoted has data forge what it can: everywhere it stays in its cell or line.
func TestQuoted(t *testing.T) {
	t.Parallel()
	for name, evil := range map[string]string{
		"new line": "a\n99  forged", "escape": "a\x1b[31mred", "tab": "a\tforged", "delete": "a\x7f", "C1": "a\u009b31m",
		"bidi override": "pro\u202eylhtnom", "isolate": "a\u2066b", "not UTF-8": "a\xff", "a color of our own form": "a\x1bABCDEF[31m",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			p := &Page{out: &out, color: true}
			p.Printf("%s %v\n", evil, named(evil))
			p.Wrap(0, evil)
			p.Printf("%s\n", p.Paint(Red, evil))
			Sheet{Page: p, Label: 4}.Sentence("", "%s", evil)
			table := p.Annotated(func(int) string { return evil })
			table.Row("A\tB")
			table.Row("%s\t%s", evil, evil)
			_ = table.End()
			quoted := quotePlain(evil)
			if quoted == evil {
				t.Fatalf("%q is not quoted", evil)
			}
			text := bytes.ReplaceAll(bytes.ReplaceAll(out.Bytes(), []byte("\x1b[31m"), nil), []byte("\x1b[0m"), nil)
			if got := bytes.Count(text, []byte(evil)); got > 0 {
				t.Errorf("data is written as it is, %d times: %q", got, text)
			}
			if lines := bytes.Count(text, []byte("\n")); lines != 7 {
				t.Errorf("got %d lines, want 7: %q", lines, text)
			}
		})
	}
}

// TestPaintQuotes keeps the colors of Paint, and none of the data.
func TestPaintQuotes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &Page{out: &out, color: true}
	p.Printf("%s and %s\n", p.Paint(Green, "good")+" news", p.Paint(Red, "\x1b[32m"))
	if got, want := out.String(), "\x1b[32mgood\x1b[0m news and \x1b[31m\"\\x1b[32m\"\x1b[0m\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
