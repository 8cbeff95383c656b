package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseRejects(t *testing.T, rejects string) []rejection {
	t.Helper()
	var all []rejection
	decoder := json.NewDecoder(strings.NewReader(rejects))
	for {
		var r rejection
		switch err := decoder.Decode(&r); err {
		case nil:
			all = append(all, r)
		case io.EOF:
			return all
		default:
			t.Fatalf("rejects are not NDJSON: %v", err)
		}
	}
}

// FuzzRun checks on any input that every line is accounted for once, in order,
// that a second run finds everything known, and that no reject is good when it is
// imported as it is.
func FuzzRun(f *testing.F) {
	f.Add(goodLines(2)+"bad\n\n"+goodLines(1), string(NDJSON))
	f.Add("bundle_id,customer_ref,receipt\n"+app+",\"a\nb\",\""+receiptOf("x")+"\"\n"+app+",\"open,\n\nx,y,z\n", string(CSV))
	f.Add(byteOrderMark+"receipt,customer_ref,bundle_id\r\n,,\r\n", "")
	f.Add(line(app, "c", strings.ReplaceAll(receiptOf("~~~"), "+", " "))+"\n"+line(app, "c", `\\x3082`)+"\n"+line(app, "c", `{"receipt-data":["AA"]}`), string(NDJSON))
	f.Add(`{"original":"{}"}`+"\n"+`{"original":"a,b","columns":["receipt","bundle_id"]}`+"\n"+`{"original_base64":"/w=="}`, string(NDJSON))
	f.Add(strings.Repeat("x", 700)+"\n{\n", string(NDJSON))
	f.Add(strings.Repeat("x", 700)+"\n\"\n\"\"\n", string(CSV))
	f.Fuzz(func(t *testing.T, input, format string) {
		var store memory
		var rejects strings.Builder
		cfg := config(&store, &rejects)
		cfg.MaxLineBytes = 600
		first, err := Run(t.Context(), strings.NewReader(input), Format(format), cfg)
		if err != nil {
			if first.Lines != 0 {
				t.Errorf("error %v after %d lines", err, first.Lines)
			}
			return
		}
		if first.Lines != first.Added+first.Known+first.Rejected {
			t.Errorf("counts do not add up: %+v", first.Counts)
		}
		if first.Bytes > int64(len(input)) || first.LastLine > int64(strings.Count(input, "\n"))+1 {
			t.Errorf("counts beyond the input: %+v", first.Counts)
		}
		refused, last := parseRejects(t, rejects.String()), int64(0)
		if len(refused) != int(first.Rejected) || len(store.rows) != int(first.Added) {
			t.Errorf("%d rejects and %d receipts, counts %+v", len(refused), len(store.rows), first.Counts)
		}
		for _, r := range refused {
			if r.Line <= last {
				t.Errorf("line %d refused after line %d", r.Line, last)
			}
			last = r.Line
		}
		second := run(t, input, Format(format), cfg)
		want := first.Counts
		want.Added, want.Known = 0, first.Added+first.Known
		if diff := cmp.Diff(want, second.Counts); diff != "" {
			t.Errorf("second run (-want +got):\n%s", diff)
		}
		var again strings.Builder
		cfg = config(&memory{}, &again)
		rejected := strings.Join(strings.SplitAfter(rejects.String(), "\n")[:first.Rejected], "")
		if third := run(t, rejected, NDJSON, cfg); third.Rejected != first.Rejected || third.Lines != first.Rejected {
			t.Errorf("rejects of the rejects: %+v of %s\n%s", third.Counts, rejected, again.String())
		}
	})
}

// BenchmarkRun imports receipts of 8 KB. The size of the input is no part of
// its memory: lines are made while they are read.
func BenchmarkRun(b *testing.B) {
	for _, format := range []Format{NDJSON, CSV} {
		b.Run(string(format), func(b *testing.B) {
			const n = 20_000
			pr, pw := io.Pipe()
			defer pr.Close()
			receipt := receiptOf(strings.Repeat("s", 8<<10))
			go func() {
				if format == CSV {
					fmt.Fprintln(pw, "bundle_id,customer_ref,receipt")
				}
				for i := range n * b.N {
					if format == CSV {
						fmt.Fprintf(pw, "%s,c%d,%s\n", app, i, receipt)
					} else {
						fmt.Fprintf(pw, `{"bundle_id":"%s","customer_ref":"c%d","receipt":"%s"}`+"\n", app, i, receipt)
					}
				}
				pw.Close()
			}()
			var peak uint64
			cfg := Config{Store: discard{}, HasApp: hasApp, Rejects: io.Discard, Progress: func(Counts) {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapSys-m.HeapReleased)
			}}
			b.ResetTimer()
			result, err := Run(b.Context(), pr, format, cfg)
			if err != nil || result.Added != int64(n*b.N) {
				b.Fatalf("%+v, %v", result, err)
			}
			b.ReportMetric(float64(result.Added)/b.Elapsed().Seconds(), "receipts/s")
			b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
		})
	}
}
