package main

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"revalidator/internal/intake"
	"revalidator/internal/terminal"
)

// TestImport is the import of a few receipts in every form.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.appStore(t, 6)
	s.must(t, "apps", "add", readerApp)
	s.must(t, "apps", "add", fitnessApp)
	var lines bytes.Buffer
	if err := sim.WriteReceipts(&lines, ""); err != nil {
		t.Fatal(err)
	}
	good := strings.SplitAfter(strings.TrimSpace(lines.String()), "\n")
	s.transcript.Reset()

	s.run(t, "import", writeFile(t, "two.ndjson", good[0]+good[1]))
	s.run(t, "import", writeFile(t, "two.csv", asCSV(t, good[1], good[2])))
	s.runWith(t, good[3], "import", "-")
	s.runWith(t, asCSV(t, good[4]), "import", "-", "--format", "csv")
	s.run(t, "import", writeFile(t, "empty.ndjson", ""))
	checkSilence(t, s, "MII")

	if got := s.rows(t)["receipts"]; got != 5 {
		t.Errorf("receipts: got %d, want 5", got)
	}
	golden(t, "import.txt", s.transcript.String())
}

// asCSV makes CSV of lines of NDJSON.
func asCSV(t *testing.T, lines ...string) string {
	t.Helper()
	var text strings.Builder
	w := csv.NewWriter(&text)
	_ = w.Write([]string{"bundle_id", "customer_ref", "receipt"})
	for _, line := range lines {
		var r struct {
			BundleID    string `json:"bundle_id"`
			CustomerRef string `json:"customer_ref"`
			Receipt     string `json:"receipt"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		_ = w.Write([]string{r.BundleID, r.CustomerRef, r.Receipt})
	}
	w.Flush()
	return text.String()
}

// TestImportRejects has one good line among bad ones: it is imported, and the
// others are told of by number, without their bytes.
func TestImportRejects(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.appStore(t, 2)
	s.must(t, "apps", "add", readerApp)
	var good bytes.Buffer
	if err := sim.WriteReceipts(&good, readerApp); err != nil {
		t.Fatal(err)
	}
	input := writeFile(t, "receipts.ndjson", strings.Join([]string{
		"not JSON",
		`{"bundle_id":"com.example.unknown","customer_ref":"1","receipt":"MIIT"}`,
		strings.TrimSpace(good.String()),
		`{"bundle_id":"com.example.reader","customer_ref":"2","receipt":"` + base64.StdEncoding.EncodeToString([]byte("no receipt")) + `"}`,
		`{"bundle_id":"com.example.reader","customer_ref":"3"}`,
	}, "\n"))
	s.transcript.Reset()

	// Once to the folder of the input, once to where a person wants it.
	if o := s.run(t, "import", input); o.code != terminal.ExitFailures {
		t.Errorf("exit code: got %d, want %d", o.code, terminal.ExitFailures)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.ndjson")
	s.run(t, "import", input, "--rejects", elsewhere)

	rejects, err := os.ReadFile(input + ".rejects.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(rejects, again) {
		t.Errorf("the rejects of the second import differ:\n%s", again)
	}
	golden(t, "rejects.txt", s.transcript.String()+string(rejects))
}

// TestImportOfRejects imports the rejects again, once what was missing is there.
func TestImportOfRejects(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.appStore(t, 2)
	var lines bytes.Buffer
	if err := sim.WriteReceipts(&lines, readerApp); err != nil {
		t.Fatal(err)
	}
	input := writeFile(t, "receipts.csv", asCSV(t, strings.TrimSpace(lines.String())))
	if o := s.run(t, "import", input); o.code != terminal.ExitFailures {
		t.Fatalf("exit code %d and %q, want the line rejected", o.code, o.stderr)
	}
	s.must(t, "apps", "add", readerApp)
	s.must(t, "import", input+".rejects.ndjson")
	s.must(t, "import", input)
	if got := s.rows(t)["receipts"]; got != 1 {
		t.Errorf("got %d receipts, want the one that was rejected", got)
	}
}

// TestImportWhatIsNoLines says what is the matter once, and leaves no rejects.
func TestImportWhatIsNoLines(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for text, want := range map[string]string{
		"{\n  \"bundle_id\": \"x\"\n}\n": "jq -c",
		newKeys(t):                       "encryption keys",
		"\xff\xfe{\x00":                  "iconv",
	} {
		input := writeFile(t, "receipts.ndjson", text)
		o := s.run(t, "import", input)
		if o.code != terminal.ExitFailure || o.stdout != "" || !strings.Contains(o.stderr, want) {
			t.Errorf("got exit code %d, %q and %q, want %q", o.code, o.stdout, o.stderr, want)
		}
		if _, err := os.Stat(input + ".rejects.ndjson"); err == nil {
			t.Errorf("%s: there are rejects", want)
		}
	}
}

// TestImportProgressWithoutATerminal is a line of the log now and then.
func TestImportProgressWithoutATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &program{Terminal: terminal.Terminal{Err: &out}}
	now := appStart
	show, end := p.importProgress(slog.New(slog.NewTextHandler(&out, nil)), 200, func() time.Time { return now })
	for i := range int64(5) {
		now = now.Add(importLogEvery / 2)
		show(intake.Counts{Bytes: 50 * i, Lines: i, Added: i})
	}
	end()
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.HasSuffix(got[0], `msg="import progress" lines=1 added=1 known=0 rejected=0 bytes=50 percent=25`) ||
		!strings.HasSuffix(got[1], "bytes=150 percent=75") {
		t.Errorf("got %q, want a line each %s", got, importLogEvery)
	}

	out.Reset()
	p.Quiet = true
	show, _ = p.importProgress(slog.New(slog.NewTextHandler(&out, nil)), 200, func() time.Time { return now })
	now = now.Add(time.Hour)
	if show(intake.Counts{Bytes: 1}); out.Len() > 0 {
		t.Errorf("with --quiet: %q", out.String())
	}
}

// TestImportLeavesNoRejects holds an import without rejects to leaving no file.
func TestImportLeavesNoRejects(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	input := writeFile(t, "receipts.ndjson", "\n")
	s.must(t, "import", input)
	files, err := os.ReadDir(filepath.Dir(input))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("got %v, want the input alone", files)
	}
}

// idlePipe is a pipe to which nobody writes any more after some lines.
type idlePipe struct {
	lines         io.Reader
	idle, release chan struct{}
}

func (p *idlePipe) Read(b []byte) (int, error) {
	if n, _ := p.lines.Read(b); n > 0 {
		return n, nil
	}
	close(p.idle)
	<-p.release
	return 0, io.EOF
}

// TestImportInterrupted ends an import that waits for a pipe. What came before
// is read, and not stored, since its batch is not full.
func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	pipe := &idlePipe{strings.NewReader("{}\n{}\n"), make(chan struct{}), make(chan struct{})}
	p := s.start(t, pipe, "import", "-")
	t.Cleanup(func() { close(pipe.release) })
	<-pipe.idle
	if code := p.stop(t); code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitFailure)
	}
	want := "revalidator: import interrupted after line 0: import the file again for the rest; what is stored already stays as it is\n"
	if got := p.stderr.text(); got != want {
		t.Errorf("standard error: got %q, want %q", got, want)
	}
}
