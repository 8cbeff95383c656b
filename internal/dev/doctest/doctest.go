// Package doctest holds the parts of docs/ that come from the program: a test
// makes each part, and fails where the document has another. It is imported by
// tests only.
package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// UpdateVariable names the environment variable that has Part rewrite the
// documents. `make docs` sets it.
const UpdateVariable = "REVALIDATOR_TEST_UPDATE_DOCS"

// Part holds a part of a document of docs/ to what the program says. The part
// stands between the lines <!-- name:begin --> and <!-- name:end -->.
func Part(t *testing.T, document, name, want string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	file := filepath.Join(filepath.Dir(here), "../../../docs", document)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s:begin -->\n\n", name), fmt.Sprintf("\n<!-- %s:end -->", name)
	before, rest, found := strings.Cut(string(text), begin)
	got, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("docs/%s has no place for the part between %q and %q", document, begin, end)
	}
	if got == want {
		return
	}
	if os.Getenv(UpdateVariable) == "" {
		t.Errorf("docs/%s is stale: 'make docs' writes it again (-want +got):\n%s", document, cmp.Diff(want, got))
		return
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Row is a row of a table in Markdown.
func Row(cells ...string) string {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(cell, "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}
