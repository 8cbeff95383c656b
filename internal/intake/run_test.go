package intake

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestRunGoldenRejects(t *testing.T) {
	t.Parallel()
	input := strings.Join([]string{
		line(app, "c1", receiptOf("1")),
		"",
		"{",
		`{"bundle_id":"com.example.app","receipt":"AAAA"}`,
		line("com.example.new", "c2", receiptOf("2")),
		line(app, "c3", "not base64!"),
		line(app, "c4", "AAAA"),
		line(app, "c5", receiptOf("5")[:32]),
		line(app, "c1", receiptOf("1")),
		line(app, `"quoted" <c6>`, "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"),
		line(app, strings.Repeat("c", 600), receiptOf("7")),
	}, "\n")
	var store memory
	var rejects strings.Builder
	result := run(t, input, NDJSON, config(&store, &rejects))
	want := Result{
		Counts: Counts{Bytes: int64(len(input)), LastLine: 11, Lines: 10, Added: 1, Known: 1, Rejected: 8},
		ByReason: map[Reason]int64{
			ReasonBadLine: 1, ReasonMissingField: 1, ReasonBadField: 1, ReasonUnknownApp: 1,
			ReasonNotBase64: 1, ReasonNotAReceipt: 2, ReasonTruncated: 1,
		},
		ByKind: map[iap.ReceiptKind]int64{iap.KindAppReceipt: 2},
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	golden(t, "rejects.ndjson", rejects.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestRunTwice imports the same input in batches of every small size, and once
// more: the second time everything is known.
func TestRunTwice(t *testing.T) {
	t.Parallel()
	const n = 20
	input := goodLines(n) + goodLines(5)
	for rows := 1; rows <= n+1; rows++ {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects strings.Builder
			cfg := config(&store, &rejects)
			cfg.BatchRows = rows
			first, second := run(t, input, "", cfg), run(t, input, "", cfg)
			if first.Added != n || first.Known != 5 || second.Added != 0 || second.Known != n+5 {
				t.Errorf("first %+v, second %+v; want %d added and 5 known, then all known", first.Counts, second.Counts, n)
			}
			var want []string
			for i := range n {
				want = append(want, fmt.Sprintf("c%d", i+1))
			}
			if diff := cmp.Diff(want, store.customers(), anyOrder); diff != "" {
				t.Errorf("customers (-want +got):\n%s", diff)
			}
			if !slices.Equal(store.dates, slices.Repeat([]time.Time{now}, store.calls)) {
				t.Errorf("batches dated %v, want %v", store.dates, now)
			}
		})
	}
}

func TestRunBatchBytes(t *testing.T) {
	t.Parallel()
	var store memory
	var rejects strings.Builder
	cfg := config(&store, &rejects)
	cfg.BatchRows, cfg.BatchBytes = 1000, 1 // every line is larger than a batch, and than what may be in flight
	if result := run(t, goodLines(10), NDJSON, cfg); result.Added != 10 || store.calls != 10 {
		t.Errorf("%d added in %d batches, want 10 in 10", result.Added, store.calls)
	}
}

func TestRunProgress(t *testing.T) {
	t.Parallel()
	input := goodLines(4) + "bad\nbad\n\n" + goodLines(1)
	var store memory
	var rejects strings.Builder
	cfg := config(&store, &rejects)
	var got []Counts
	cfg.Progress = func(c Counts) { got = append(got, c) }
	run(t, input, NDJSON, cfg)
	end := func(lines int) int64 { return int64(len(strings.Join(strings.SplitAfter(input, "\n")[:lines], ""))) }
	want := []Counts{
		{Bytes: end(3), LastLine: 3, Lines: 3, Added: 3},
		{Bytes: end(6), LastLine: 6, Lines: 6, Added: 4, Rejected: 2},
		{Bytes: end(8), LastLine: 8, Lines: 7, Added: 4, Known: 1, Rejected: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

var errDisk = errors.New("disk full")

// failing is a writer that is full from the start.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

// TestRunStops covers what ends an import: each time the whole batches before
// are stored and counted, and running it again completes it.
func TestRunStops(t *testing.T) {
	t.Parallel()
	good := goodLines(10)
	errRead, errStore := errors.New("pulled out"), errors.New("no connection")
	tests := map[string]struct {
		input  io.Reader
		change func(*Config, *memory)
		want   error
		stored int
		counts Counts // without Bytes
		says   string
	}{
		"store": {
			strings.NewReader(good),
			func(_ *Config, m *memory) {
				m.before = func(first string) error {
					if first == "c7" {
						return errStore
					}
					return nil
				}
			},
			errStore, 6, Counts{LastLine: 6, Lines: 6, Added: 6}, "store lines 7 to 9",
		},
		"rejects": {
			strings.NewReader(goodLines(4) + "bad\n" + good[len(goodLines(4)):]),
			func(c *Config, _ *memory) { c.Rejects = failing{} },
			errDisk, 5, Counts{LastLine: 3, Lines: 3, Added: 3}, "write the rejects of lines 4 to 6",
		},
		"input": { // what was read before is stored, also in a batch that is not full
			io.MultiReader(strings.NewReader(goodLines(5)), iotest.ErrReader(errRead)),
			func(*Config, *memory) {},
			errRead, 5, Counts{LastLine: 5, Lines: 5, Added: 5}, "read line 6",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects strings.Builder
			cfg := config(&store, &rejects)
			test.change(&cfg, &store)
			result, err := Run(t.Context(), test.input, NDJSON, cfg)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			for _, text := range []string{test.says, fmt.Sprintf("lines up to %d are imported", test.counts.LastLine)} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
			test.counts.Bytes = result.Bytes
			if diff := cmp.Diff(test.counts, result.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			stored := len(store.rows) // the batch after one that failed may be
			if stored < test.stored || stored > test.stored+cfg.BatchRows {
				t.Errorf("%d stored, want %d", stored, test.stored)
			}
			store.before, cfg.Rejects = nil, &rejects
			again := run(t, good, NDJSON, cfg)
			if again.Known != int64(stored) || again.Added != int64(10-stored) {
				t.Errorf("run again: %+v, want %d known and the rest added", again.Counts, stored)
			}
		})
	}
}

func TestRunCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	var store memory
	var rejects strings.Builder
	store.before = func(first string) error {
		if first == "c4" {
			cancel(interrupted) // batches that are under way still end well
		}
		return nil
	}
	result, err := Run(ctx, strings.NewReader(goodLines(30)), NDJSON, config(&store, &rejects))
	if !errors.Is(err, interrupted) {
		t.Fatalf("error %v, want %v", err, interrupted)
	}
	stored := int64(len(store.rows))
	if result.Added != stored || result.LastLine != stored || stored < 6 || stored > 9 {
		t.Errorf("%+v with %d stored, want the lines of two batches, or three", result.Counts, stored)
	}
}

func TestRunStoreTimeout(t *testing.T) {
	t.Parallel()
	var rejects strings.Builder
	cfg := config(stuck{}, &rejects)
	cfg.StoreTimeout = time.Millisecond
	if _, err := Run(t.Context(), strings.NewReader(goodLines(1)), NDJSON, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

// stuck is a Store that waits until it is asked to stop.
type stuck struct{}

func (stuck) AddReceipts(ctx context.Context, _ []iap.Receipt, _ time.Time) ([]bool, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRunRefusesConfig(t *testing.T) {
	t.Parallel()
	var rejects strings.Builder
	whole := config(&memory{}, &rejects)
	tests := map[string]func(*Config) Format{
		"no store":       func(c *Config) Format { c.Store = nil; return "" },
		"no apps":        func(c *Config) Format { c.HasApp = nil; return "" },
		"no rejects":     func(c *Config) Format { c.Rejects = nil; return "" },
		"unknown format": func(*Config) Format { return "xml" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := whole
			format := spoil(&cfg)
			if _, err := Run(t.Context(), strings.NewReader(""), format, cfg); err == nil {
				t.Error("no error")
			}
		})
	}
}
