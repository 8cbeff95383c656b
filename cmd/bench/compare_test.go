package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMedians(t *testing.T) {
	t.Parallel()
	var all table
	for _, f := range []figure{
		{value: 30, unit: unitTime, ratio: 0.3}, {value: 10, unit: unitTime, ratio: 0.4}, {value: 20, unit: unitTime, ratio: 0.5},
	} {
		all.rows = append(all.rows, row{name: "CPU", figure: f, met: f.ratio <= 0.4}, row{name: "Feed", figure: figure{value: -f.value, rank: f.value}})
	}
	got := all.medians()
	// By its ratio, which has the target; the other by its rank.
	want := []row{
		{name: "CPU", figure: figure{value: 10, unit: unitTime, ratio: 0.4}, met: true},
		{name: "Feed", figure: figure{value: -20, rank: 20}},
	}
	if diff := cmp.Diff(want, got.rows, cmp.AllowUnexported(row{}, figure{})); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
	if missed := got.missed(); missed != 1 {
		t.Errorf("%d targets are missed, want that of Feed", missed)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	cpu := func(value, ratio float64) measured {
		return measured{"CPU", figure{value: value, unit: unitTime, ratio: ratio}}
	}
	speed := func(value float64) measured { return measured{"Feed", figure{value: value, unit: unitSpeed}} }
	tests := map[string]struct {
		before, now []measured
		want        string // the line of the first row
		err         string
	}{
		"the same":                {[]measured{cpu(100, 0.4)}, []measured{cpu(100, 0.4)}, "100 ns/op (0.400×) | 1.00 | ok", ""},
		"better":                  {[]measured{cpu(100, 0.4)}, []measured{cpu(50, 0.2)}, "0.50 | ok", ""},
		"worse":                   {[]measured{cpu(100, 0.4)}, []measured{cpu(120, 0.5)}, "1.20 | **worse**", "10 % worse than before: CPU"},
		"nearly too bad":          {[]measured{cpu(100, 0)}, []measured{cpu(109, 0)}, "1.09 | ok", ""},
		"worse on a busy machine": {[]measured{cpu(100, 0.4)}, []measured{cpu(150, 0.41)}, "1.02 | ok", ""},
		"the baseline was lucky":  {[]measured{cpu(100, 0.4)}, []measured{cpu(100, 0.6)}, "1.00 | ok", ""},
		"slower":                  {[]measured{speed(1200)}, []measured{speed(1000)}, "1.20 | **worse**", "10 % worse than before: Feed"},
		"faster":                  {[]measured{speed(1000)}, []measured{speed(1200)}, "0.83 | ok", ""},
		"medians": {
			[]measured{cpu(100, 0.4), cpu(900, 0.9), cpu(110, 0.41)}, []measured{cpu(700, 0.8), cpu(115, 0.42), cpu(90, 0.4)}, "1.02 | ok", "",
		},
		"a new row":   {[]measured{cpu(100, 0.4)}, []measured{speed(7), cpu(100, 0.4)}, "| Feed | – | 7 receipts/s | – | new |", ""},
		"nothing old": {[]measured{cpu(100, 0.4)}, []measured{speed(7)}, "new", "none of these rows was measured before"},
		"one is gone": {[]measured{cpu(100, 0.4), speed(7)}, []measured{cpu(100, 0.4)}, "1.00 | ok", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := compare(&out, test.before, test.now)
			lines := strings.Split(out.String(), "\n")
			if len(lines) < 3 || !strings.Contains(lines[2], test.want) {
				t.Errorf("got %s\nwant %q in its first row", out.String(), test.want)
			}
			if got := errorText(err); (got == "") != (test.err == "") || !strings.Contains(got, test.err) {
				t.Errorf("got error %q, want %q in it", got, test.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestResults writes results and reads them again.
func TestResults(t *testing.T) {
	t.Parallel()
	all := table{rows: []row{
		{name: "SmallAllCPU", figure: figure{value: 354_000.5, unit: unitTime, ratio: 0.354}},
		{name: "Feed/quick", figure: figure{value: 26112, unit: unitSpeed, rank: 3}},
		{name: "SmallAllCPU", figure: figure{value: 1e9, unit: unitTime, ratio: 0.4}},
		{name: "RedisMemory", figure: figure{value: 64 << 20, unit: unitMemory}},
	}}
	file := filepath.Join(t.TempDir(), "results.txt")
	if err := all.writeResults(file); err != nil {
		t.Fatal(err)
	}
	got, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all.results(), got, cmp.AllowUnexported(measured{}), cmpopts.IgnoreFields(figure{}, "rank"), cmp.AllowUnexported(figure{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestReport compares two commits as a person would.
func TestReport(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "before.txt")
	cpu := func(value float64, met bool) table {
		return table{rows: []row{{name: "CPU", what: "CPU of the worker", figure: figure{value: value, unit: unitTime}, met: met}}}
	}
	before, same, worse := cpu(100, true), cpu(105, false), cpu(120, false)
	var out strings.Builder
	if err := before.report(&out, options{out: file, check: true}); err != nil {
		t.Fatal(err)
	}
	results, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	const isWorse, isMissed = "more than 10 % worse than before: CPU", "1 targets are missed"
	tests := map[string]struct {
		now   table
		check bool
		want  string
		err   string
	}{
		"the same":                 {before, true, "| 1.00 | ok |", ""},
		"no worse":                 {same, false, "| CPU | 100 ns/op | 105 ns/op | 1.05 | ok |", ""},
		"no worse, but off target": {same, true, "| 1.05 | ok |", isMissed},
		"worse":                    {worse, false, "| 1.20 | **worse** |", isWorse},
		"worse, and off target":    {worse, true, "| 1.20 | **worse** |", isMissed + "\n" + isWorse},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if got := errorText(test.now.report(&out, options{before: results, check: test.check})); got != test.err {
				t.Errorf("got error %q, want %q", got, test.err)
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("got %s\nwant %q in it", out.String(), test.want)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	base, empty := filepath.Join(folder, "base.txt"), filepath.Join(folder, "empty.txt")
	for name, text := range map[string]string{base: "BenchmarkFeed 1 7 receipts/s\n", empty: "ok\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		set map[string]string
		err string
	}{
		"nothing":           {nil, ""},
		"everything":        {map[string]string{"ONLY": "small, rate", "QUICK": "1", "CHECK": "1", "RUNS": "3", "ROWS": "100000", "BASE": base, "OUT": filepath.Join(folder, "out.txt")}, ""},
		"unknown part":      {map[string]string{"ONLY": "tiny"}, "ONLY=tiny"},
		"no runs":           {map[string]string{"RUNS": "0"}, "RUNS=0"},
		"few rows":          {map[string]string{"ROWS": "7"}, "ROWS=7"},
		"no file before":    {map[string]string{"BASE": filepath.Join(folder, "none.txt")}, "BASE: open"},
		"no results before": {map[string]string{"BASE": empty}, "holds no results"},
		"nowhere to write":  {map[string]string{"OUT": filepath.Join(folder, "none", "out.txt")}, "no such file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newOptions(func(name string) string { return test.set[name] })
			if got := errorText(err); (got == "") != (test.err == "") || !strings.Contains(got, test.err) {
				t.Errorf("got error %q, want %q in it", got, test.err)
			}
		})
	}
}
