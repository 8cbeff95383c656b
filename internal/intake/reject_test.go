package intake

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestRejectsAreImportedAgain corrects each kind of rejects and imports what it is
// then: every line comes in, as if it had been right at first.
func TestRejectsAreImportedAgain(t *testing.T) {
	t.Parallel()
	good := receiptOf("x")
	header := "plan,receipt,customer_ref,bundle_id\n"
	tests := map[string]struct {
		input     string
		from, to  string // in the rejects
		customers []string
	}{
		"app of a line":     {line("com.example.new", "c1", good), "com.example.new", app, []string{"c1"}},
		"app of CSV":        {header + "gold," + good + ",c1,com.example.new\n", "com.example.new", app, []string{"c1"}},
		"no JSON":           {line(app, "c1", good) + "}", `}}"`, `}"`, []string{"c1"}},
		"end of a line":     {strings.TrimSuffix(line(app, "c1", good), "}"), `=\""`, `=\"}"`, []string{"c1"}},
		"another name":      {strings.Replace(line(app, "c1", good), `"receipt"`, `"token"`, 1), `\"token\"`, `\"receipt\"`, []string{"c1"}},
		"a quote in CSV":    {header + "gold," + good + `,5" pipe,` + app + "\n", `5\" pipe`, `\"5\"\" pipe\"`, []string{`5" pipe`}},
		"a column too many": {header + "gold,," + good + ",c1," + app + "\n", "gold,,", "gold,", []string{"c1"}},
		"no customer":       {`{"bundle_id":"` + app + `","receipt":"` + good + `"}`, `"customer_ref":null`, `"customer_ref":"c1"`, []string{"c1"}},
		"a long customer":   {line(app, "c1"+strings.Repeat("x", maxCustomerRef), good), strings.Repeat("x", maxCustomerRef), "", []string{"c1"}},
		"a letter too many": {line(app, "c1", "!"+good), "!", "", []string{"c1"}},
		"a null receipt":    {`{"bundle_id":"` + app + `","customer_ref":"c1","receipt":null}`, `\"receipt\":null`, `\"receipt\":\"` + good + `\"`, []string{"c1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects, again, last strings.Builder
			if first := run(t, test.input, "", config(&store, &rejects)); first.Rejected != 1 {
				t.Fatalf("result %+v, want one line rejected", first)
			}
			run(t, rejects.String(), NDJSON, config(&store, &again))
			if diff := cmp.Diff(parseRejects(t, rejects.String()), parseRejects(t, again.String()),
				cmp.AllowUnexported(rejection{}), cmpopts.IgnoreFields(rejection{}, "Line", "Error")); diff != "" {
				t.Errorf("rejects of the rejects (-first +second):\n%s", diff)
			}
			corrected := strings.ReplaceAll(again.String(), test.from, test.to)
			if result := run(t, corrected, NDJSON, config(&store, &last)); result.Added != 1 || last.Len() > 0 {
				t.Errorf("corrected to %s\ngot %+v and rejects %s", corrected, result.Counts, last.String())
			}
			if diff := cmp.Diff(test.customers, store.customers()); diff != "" {
				t.Errorf("customers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoRejectBecomesGood without a correction, whatever its bytes are.
func TestNoRejectBecomesGood(t *testing.T) {
	t.Parallel()
	good := receiptOf("x")
	for name, input := range map[string]string{
		"not UTF-8":              strings.Replace(line(app, "c?", good), "?", "\xff", 1),
		"CSV, not UTF-8":         "bundle_id,customer_ref,receipt\n" + app + ",\xff," + good + "\n",
		"a reference is missing": `{"bundle_id":"` + app + `","receipt":"` + good + `"}`,
	} {
		var store memory
		var rejects, again strings.Builder
		run(t, input, "", config(&store, &rejects))
		if result := run(t, rejects.String(), NDJSON, config(&store, &again)); result.Rejected != 1 || len(store.rows) > 0 {
			t.Errorf("%s: got %+v of rejects %s", name, result.Counts, rejects.String())
		}
	}
}

// TestOtherKeysOfOurs are ignored like any other where a line has a receipt, and
// where they are not those of the rejects.
func TestOtherKeysOfOurs(t *testing.T) {
	t.Parallel()
	begin := `{"bundle_id":"` + app + `","customer_ref":"c1"`
	for text, added := range map[string]int64{
		begin + `,"receipt":"` + receiptOf("x") + `","original":5,"columns":"a"}`: 1,
		begin + `,"original":5,"columns":"a"}`:                                    0,
		begin + `,"original":"","columns":["a"]}`:                                 0,
		begin + `,"original":"a","columns":["a"]}`:                                0,
	} {
		var store memory
		var rejects strings.Builder
		if result := run(t, text, NDJSON, config(&store, &rejects)); result.Added != added || result.Lines != 1 {
			t.Errorf("%s: got %+v and %s", text, result.Counts, rejects.String())
		}
	}
}

// TestNoLinesAtAll is named once, and nothing is rejected.
func TestNoLinesAtAll(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ input, says string }{
		"a pretty-printed object": {"\n{\n  \"bundle_id\": \"x\"\n}\n", "`jq -c .`"},
		"a pretty-printed array":  {"[\n  {\n    \"bundle_id\": \"x\"\n  }\n]\n", "`jq -c '.[]'`"},
		"an array of lines":       {"[\n" + line(app, "c", receiptOf("x")) + "\n]\n", "`jq -c '.[]'`"},
		"UTF-16 of Windows":       {"\xff\xfe{\x00\"\x00", "iconv"},
		"UTF-16 without its mark": {"{\x00\"\x00", "iconv"},
		"UTF-16, big endian":      {"\x00b\x00u", "iconv"},
		"a keys file":             {`{"encryption":{"primaryKeyId":1,"key":[]},"fingerprint_key":"x"}`, "encryption keys"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rejects strings.Builder
			_, err := Run(t.Context(), strings.NewReader(test.input), "", config(&memory{}, &rejects))
			if !errors.Is(err, errNotLines) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "run it again") {
				t.Errorf("error %v, want one with %q", err, test.says)
			}
			if rejects.Len() > 0 {
				t.Errorf("rejects: %s", rejects.String())
			}
		})
	}
}
