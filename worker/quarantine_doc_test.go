package worker

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"revalidator/internal/ledger"

	"github.com/google/go-cmp/cmp"
)

var updateQuarantine = flag.Bool("update-quarantine", false, "rewrite the table in docs/quarantine.md")

// TestQuarantineTableInTheDocument holds the document that people read to the
// table that is used.
func TestQuarantineTableInTheDocument(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../docs/quarantine.md", "<!-- quarantine:begin -->\n\n", "\n<!-- quarantine:end -->"
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(document), begin)
	got, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table between %q and %q", file, begin, end)
	}
	want := quarantineMarkdown()
	if *updateQuarantine {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got; go test ./worker -update-quarantine rewrites it)\n%s", file, diff)
	}
}

func quarantineMarkdown() string {
	var table strings.Builder
	table.WriteString("| Failure class | What it is | Never accepted before | Accepted before | Checked again | In quarantine as | and then checked |\n")
	table.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, q := range ledger.QuarantineRules() {
		again, then := "after a back-off", "never"
		if q.OnOtherDays {
			again = "after a day, then after a week"
		}
		if q.Weekly {
			then = "once a week"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s | `%s` | %s |\n", q.Class, q.Said, q.New, q.Accepted, again, q.State, then)
	}
	return table.String()
}
