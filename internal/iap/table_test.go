package iap_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

var updateLooks = flag.Bool("update-looks", false, "rewrite the table in docs/looks.md")

// TestTableInTheDocument holds the document that people read to the policy.
func TestTableInTheDocument(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../../docs/looks.md", "<!-- policy:begin -->\n\n", "\n<!-- policy:end -->"
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(document), begin)
	got, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table between %q and %q", file, begin, end)
	}
	var want strings.Builder
	want.WriteString("| Rule | State | Looked at |\n| --- | --- | --- |\n")
	for _, row := range iap.DefaultPolicy().Table() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", row.Rule, row.State, row.When)
	}
	if *updateLooks {
		if err := os.WriteFile(file, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("%s (-want +got; go test ./internal/iap -update-looks rewrites it)\n%s", file, diff)
	}
}
