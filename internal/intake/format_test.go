package intake

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFormatOf(t *testing.T) {
	t.Parallel()
	tests := map[string]Format{
		"a.csv": CSV, "dir/A.CSV": CSV, "a.ndjson": NDJSON, "a.jsonl": NDJSON, "a.json": NDJSON,
		"a.txt": "", "csv": "", "": "",
	}
	for name, want := range tests {
		if got := FormatOf(name); got != want {
			t.Errorf("FormatOf(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestFormats reads the same in every dress of the two formats. Each input
// names the customers that are stored and, as line/reason, what is refused.
func TestFormats(t *testing.T) {
	t.Parallel()
	const header = "bundle_id,customer_ref,receipt\n"
	col := func(ref string) string { return fmt.Sprintf("%s,%s,%s\n", app, ref, receiptOf(ref)) }
	wrapped := receiptOf("w")[:20] + "\n" + receiptOf("w")[20:40] + "\r\n" + receiptOf("w")[40:]
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	const bom = byteOrderMark
	tests := map[string]struct {
		input   string
		format  Format
		stored  []string
		refused []string
	}{
		"empty":                   {"", "", nil, nil},
		"NDJSON":                  {goodLines(2), "", []string{"c1", "c2"}, nil},
		"NDJSON, named":           {goodLines(2), NDJSON, []string{"c1", "c2"}, nil},
		"NDJSON, BOM and CRLF":    {bom + crlf(goodLines(2)), "", []string{"c1", "c2"}, nil},
		"NDJSON, blank lines":     {"\n \n" + goodLines(1) + "\n\t\n" + goodLines(1) + "\n", "", []string{"c1"}, nil},
		"NDJSON, no end of line":  {strings.TrimSpace(goodLines(2)), "", []string{"c1", "c2"}, nil},
		"NDJSON, an array":        {"[" + goodLines(1) + "]", "", nil, []string{"1/bad_line", "2/bad_line"}},
		"CSV":                     {header + col("c1") + col("c2"), "", []string{"c1", "c2"}, nil},
		"CSV, header alone":       {header, CSV, nil, nil},
		"CSV, BOM and CRLF":       {bom + crlf(header+col("c1")+col("c2")), "", []string{"c1", "c2"}, nil},
		"CSV, blank lines":        {"\n" + header + "\n" + col("c1") + "\r\n\n" + col("c2") + "\n\n", CSV, []string{"c1", "c2"}, nil},
		"CSV, no end of line":     {header + strings.TrimSpace(col("c1")), "", []string{"c1"}, nil},
		"CSV, other order":        {" Receipt-Data ,plan,BUNDLE_ID,customer_ref\n" + receiptOf("x") + ",gold," + app + ",c1\n", CSV, []string{"c1"}, nil},
		"CSV, quoted":             {header + app + `,"a ""b"", c",` + receiptOf("x") + "\n" + col("c2"), "", []string{`a "b", c`, "c2"}, nil},
		"CSV, several lines":      {header + app + `,c1,"` + wrapped + "\"\n" + col("c2") + "bad\n", "", []string{"c1", "c2"}, []string{"6/bad_line"}},
		"CSV, quoted, at the end": {header + app + `,c1,"` + wrapped + `"`, "", []string{"c1"}, nil},
		"CSV, too few columns":    {header + "a,b\n" + col("c1"), "", []string{"c1"}, []string{"2/bad_line"}},
		"CSV, too many columns":   {header + "a,b,c,d\n" + col("c1"), "", []string{"c1"}, []string{"2/bad_line"}},
		"CSV, missing values":     {header + ",,\n" + col("c1"), "", []string{"c1"}, []string{"2/missing_field"}},
		"CSV, not UTF-8":          {header + app + ",\xff," + receiptOf("x") + "\n" + col("c1"), "", []string{"c1"}, []string{"2/bad_field"}},
		"CSV, bare quote":         {header + app + `,5" pipe,` + receiptOf("x") + "\n" + col("c1") + col("c2"), "", []string{"c1", "c2"}, []string{"2/bad_line"}},
		"CSV, open quote":         {header + app + `,"open,` + receiptOf("x") + "\n" + col("c1") + col("c2"), "", []string{"c1", "c2"}, []string{"2/bad_line"}},
		"CSV, two open quotes":    {header + app + `,"open,` + receiptOf("x") + "\n" + col("c1") + app + `,"open,x` + "\n" + col("c2"), "", []string{"c1", "c2"}, []string{"2/bad_line", "4/bad_line"}},
		"CSV, open at the end":    {header + col("c1") + app + `,"open`, "", []string{"c1"}, []string{"3/bad_line"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects strings.Builder
			result := run(t, test.input, test.format, config(&store, &rejects))
			if diff := cmp.Diff(test.stored, store.customers(), anyOrder); diff != "" {
				t.Errorf("customers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.refused, linesAndReasons(t, rejects.String())); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if lines := strings.Count(strings.TrimRight(test.input, "\r\n\t "), "\n") + 1; result.Lines > 0 && result.LastLine != int64(lines) {
				t.Errorf("last line %d, want %d", result.LastLine, lines)
			}
		})
	}
}

func TestCSVHeaderErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ input, says string }{
		"nothing":            {"", "empty"},
		"blank lines":        {"\n\n", "empty"},
		"no header":          {app + ",c1," + receiptOf("x"), "no column bundle_id"},
		"semicolons":         {"bundle_id;customer_ref;receipt\n", "separated by commas"},
		"no customer":        {"bundle_id,receipt\n", "no column customer_ref"},
		"no receipt":         {"bundle_id,customer_ref\n", "no column receipt"},
		"open quote":         {"bundle_id,\"customer_ref,receipt\n", "quote"},
		"longer than a line": {strings.Repeat("x,", 5000), "too long"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rejects strings.Builder
			cfg := config(&memory{}, &rejects)
			cfg.MaxLineBytes = 4096
			_, err := Run(t.Context(), strings.NewReader(test.input), CSV, cfg)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one with %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), receiptOf("x")[:30]) {
				t.Errorf("receipt bytes in %q", err)
			}
		})
	}
}

// TestLongLines has lines around the limit, which is also the size of a read.
func TestLongLines(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	pad := func(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }
	fits := pad(strings.TrimSpace(goodLines(1)), limit-1) + "\n"
	wrapped := strings.Repeat(strings.Repeat("A", 76)+"\n", limit/77+10)
	tests := map[string]struct {
		input   string
		stored  []string
		refused []string
	}{
		"at the limit":      {fits, []string{"c1"}, nil},
		"one more":          {" " + fits + goodLines(1), []string{"c1"}, []string{"1/line_too_long"}},
		"many times":        {strings.Repeat("{", 10*limit) + "\n" + goodLines(1), []string{"c1"}, []string{"1/line_too_long"}},
		"unended":           {goodLines(1) + strings.Repeat("x", 3*limit), []string{"c1"}, []string{"2/line_too_long"}},
		"CSV, at the limit": {"bundle_id,customer_ref,receipt\n" + pad(app+",c1,"+receiptOf("c1"), limit-1) + "\n", []string{"c1"}, nil},
		"CSV, one more":     {"bundle_id,customer_ref,receipt\n" + pad(app+",c1,"+receiptOf("c1"), limit) + "\n" + app + ",c2," + receiptOf("c2"), []string{"c2"}, []string{"2/line_too_long"}},
		"CSV, unended":      {"bundle_id,customer_ref,receipt\n" + strings.Repeat("x", 3*limit), nil, []string{"2/line_too_long"}},
		"CSV, an open quote": {
			"bundle_id,customer_ref,receipt\n" + app + ",\"c0,x\n" + strings.Repeat(app+",c1,"+receiptOf("c1")+"\n", 2000),
			[]string{"c1"}, []string{"2/bad_line"},
		},
		"CSV, a long record": {
			"bundle_id,customer_ref,receipt\n" + app + ",c0,\"" + wrapped + "\"\n" + app + ",c1," + receiptOf("c1"),
			[]string{"c1"}, nil, // the refused ones are counted below
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects strings.Builder
			cfg := config(&store, &rejects)
			cfg.MaxLineBytes = limit
			result := run(t, test.input, "", cfg)
			if diff := cmp.Diff(test.stored, store.customers(), anyOrder); diff != "" {
				t.Errorf("customers (-want +got):\n%s", diff)
			}
			refused := linesAndReasons(t, rejects.String())
			if name == "CSV, a long record" {
				if want := strings.Count(wrapped, "\n") + 1; len(refused) != want {
					t.Errorf("%d refused, want every line of the record: %d", len(refused), want)
				}
				return
			}
			if diff := cmp.Diff(test.refused, refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if result.Bytes != int64(len(test.input)) {
				t.Errorf("%d bytes, want %d", result.Bytes, len(test.input))
			}
		})
	}
}

// linesAndReasons writes the rejects as line/reason.
func linesAndReasons(t *testing.T, rejects string) []string {
	t.Helper()
	var all []string
	for _, r := range parseRejects(t, rejects) {
		all = append(all, fmt.Sprintf("%d/%s", r.Line, r.Reason))
	}
	return all
}
