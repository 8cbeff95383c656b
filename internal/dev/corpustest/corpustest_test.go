package corpustest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// watched is a test whose end is watched in place of the real one's.
type watched struct {
	testing.TB
	skipped, failed string
	logged          strings.Builder
}

func (w *watched) Helper() {}

func (w *watched) Logf(format string, args ...any) { fmt.Fprintf(&w.logged, format, args...) }

func (w *watched) Skipf(format string, args ...any) {
	w.skipped = fmt.Sprintf(format, args...)
	panic(w)
}

func (w *watched) Fatalf(format string, args ...any) {
	w.failed = fmt.Sprintf(format, args...)
	panic(w)
}

// during does something in the watched test.
func (w *watched) during(act func()) {
	defer func() {
		if r := recover(); r != nil && r != any(w) {
			panic(r)
		}
	}()
	act()
}

const header = "kind,origin,expect,file\n"

// folder writes files, of which each holds its own name.
func folder(t *testing.T, index string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range slices.Concat(files, []string{"INDEX.csv"}) {
		text := file
		if file == "INDEX.csv" {
			text = index
		}
		if text == "" {
			continue
		}
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEntries(t *testing.T) {
	const (
		a    = `receipt-app,o,"{""n"":1}",receipts/a.b64` + "\n"
		b    = `receipt-xcode,o,"{""n"":2}",receipts/b.b64` + "\n"
		c    = `response-app,o,"{""n"":3}",responses/c.json` + "\n"
		cert = `cert,o,,certs/d.cer` + "\n"
	)
	all := []string{"receipts/a.b64", "receipts/b.b64", "responses/c.json", "certs/d.cer"}
	tests := map[string]struct {
		index   string
		files   []string
		kinds   []Kind
		want    []string // name and what is expected
		skipped string
		failed  string
		logged  string
	}{
		"all of a kind":                 {header + a + b + c + cert, all, []Kind{KindReceipt}, []string{"a.b64 1", "b.b64 2"}, "", "", ""},
		"several kinds":                 {header + a + b + c + cert, all, []Kind{KindReceipt, KindResponse}, []string{"a.b64 1", "b.b64 2", "c.json 3"}, "", "", ""},
		"rows in another order":         {header + cert + c + b + a, all, []Kind{KindReceipt}, []string{"a.b64 1", "b.b64 2"}, "", "", ""},
		"half of the files and rows":    {header + b + cert, all[1:2], []Kind{KindReceipt}, []string{"b.b64 2"}, "", "", ""},
		"half of the files, all rows":   {header + a + b + c, all[1:], []Kind{KindReceipt}, []string{"b.b64 2"}, "", "", "lacks 1 files that its INDEX.csv names: receipts/a.b64"},
		"files without a row":           {header + a, all, []Kind{KindReceipt}, []string{"a.b64 1"}, "", "", ""},
		"no row of the kind":            {header + c, all, []Kind{KindReceipt}, nil, "names no files of kind [receipt]", "", ""},
		"no file of the kind":           {header + a + b, all[2:], []Kind{KindReceipt}, nil, "", "has none of the 2 files", ""},
		"no INDEX.csv":                  {"", all, []Kind{KindReceipt}, nil, "", "INDEX.csv: no such file", ""},
		"INDEX.csv without a column":    {"file,kind\n", all, []Kind{KindReceipt}, nil, "", "has no column expect", ""},
		"INDEX.csv of another form":     {"file,kind\n1,2,3\n", all, []Kind{KindReceipt}, nil, "", "wrong number of fields", ""},
		"an expectation that is broken": {header + `receipt-app,o,{,receipts/a.b64`, all, []Kind{KindReceipt}, nil, "", "expects of receipts/a.b64: unexpected end", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(FolderVariable, folder(t, test.index, test.files...))
			w := &watched{TB: t}
			var got []string
			w.during(func() {
				for _, e := range Entries(w, test.kinds...) {
					if string(e.Data) != e.File {
						t.Errorf("%s holds %q", e.File, e.Data)
					}
					var want struct{ N int }
					e.Expect(w, &want)
					got = append(got, fmt.Sprint(e.Name(), " ", want.N))
				}
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			checkEnd(t, "skipped", w.skipped, test.skipped)
			checkEnd(t, "failed", w.failed, test.failed)
			checkEnd(t, "logged", w.logged.String(), test.logged)
		})
	}
}

func checkEnd(t *testing.T, what, got, want string) {
	t.Helper()
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q in it", what, got, want)
	}
}

func TestEntriesWithoutFolder(t *testing.T) {
	t.Setenv(FolderVariable, "")
	w := &watched{TB: t}
	w.during(func() { Entries(w, KindReceipt) })
	checkEnd(t, "skipped", w.skipped, FolderVariable+" is not set")
	checkEnd(t, "failed", w.failed, "")
}

// TestCorrections reads a correction, whose file INDEX.csv knows nothing of.
func TestCorrections(t *testing.T) {
	t.Parallel()
	for file := range corrections {
		want := struct {
			BundleID      string `json:"bundle_id"`
			InApp         int    `json:"n_in_app"`
			DERBytes      int    `json:"der_bytes"`
			Subscriptions map[string]any
		}{}
		Entry{File: file, expect: `{"bundle_id": null, "n_in_app": 0, "der_bytes": 7}`}.Expect(t, &want)
		if want.BundleID == "" || want.InApp == 0 || len(want.Subscriptions) == 0 || want.DERBytes != 7 {
			t.Errorf("%s: got %+v, want what the script read and what it could not read", file, want)
		}
	}
}

func TestInAnyOrder(t *testing.T) {
	t.Parallel()
	type fields = map[string]any
	want := fields{"ids": []string{"1", "2", "2"}, "revoked": []any{fields{"id": "1", "ms": 5.0}, fields{"id": "2"}}}
	tests := map[string]struct {
		got  fields
		same bool
	}{
		"same":                   {fields{"ids": []string{"1", "2", "2"}, "revoked": []any{fields{"id": "1", "ms": 5.0}, fields{"id": "2"}}}, true},
		"another order":          {fields{"ids": []string{"2", "1", "2"}, "revoked": []any{fields{"id": "2"}, fields{"ms": 5.0, "id": "1"}}}, true},
		"wrong in a list":        {fields{"ids": []string{"2", "1", "1"}, "revoked": []any{fields{"id": "2"}, fields{"ms": 5.0, "id": "1"}}}, false},
		"wrong in a list's item": {fields{"ids": []string{"1", "2", "2"}, "revoked": []any{fields{"id": "1", "ms": 6.0}, fields{"id": "2"}}}, false},
		"one is missing":         {fields{"ids": []string{"1", "2"}, "revoked": []any{fields{"id": "1", "ms": 5.0}, fields{"id": "2"}}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := cmp.Equal(want, test.got, InAnyOrder()); got != test.same {
				t.Errorf("got %t, want %t", got, test.same)
			}
		})
	}
}

func TestTextDates(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reply string
		want  []string
	}{
		"with milliseconds": {`{"receipt": {"in_app": [{"transaction_id": "1", "expires_date": "2020-01-01 00:00:00 Etc/GMT", "expires_date_ms": "1"}]}}`, nil},
		"of iOS 6":          {`{"receipt": {"transaction_id": "1", "expires_date": "1577836800000"}}`, nil},
		"no date":           {`{"receipt": {"in_app": [{"transaction_id": "1", "expires_date": ""}]}}`, nil},
		"text only":         {`{"receipt": {"in_app": [{"transaction_id": "1", "expires_date": "2020-01-01 00:00:00 Etc/GMT"}]}}`, []string{"expires_date"}},
		"text only, both":   {`{"receipt": {"in_app": [{"transaction_id": "1", "expires_date": "in 2020", "cancellation_date": "soon"}]}}`, []string{"cancellation_date", "expires_date"}},
		"without a transaction id": {
			`{"receipt": {"in_app": [{"original_transaction_id": "1", "expires_date": "soon"}, {"original_transaction_id": "2", "expires_date_ms": 1}]}}`, []string{"expires_date"},
		},
		"milliseconds in another list": {
			`{"receipt": {"in_app": [{"transaction_id": "1", "expires_date": "soon"}]}, "latest_receipt_info": [{"transaction_id": "1", "expires_date_ms": "1"}]}`, nil,
		},
		"milliseconds of another transaction": {
			`{"receipt": {"in_app": [{"transaction_id": "1", "expires_date": "soon"}, {"transaction_id": "2", "expires_date_ms": "1"}]}}`, []string{"expires_date"},
		},
		"not JSON": {`no`, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, TextDates([]byte(test.reply))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
