package worker

import (
	"fmt"
	"strings"
	"testing"

	"revalidator/internal/dev/doctest"
	"revalidator/internal/quarantine"
)

// TestDocsQuarantine holds the document that people read to the table that is
// used.
func TestDocsQuarantine(t *testing.T) {
	t.Parallel()
	doctest.Part(t, "quarantine.md", "quarantine", quarantineMarkdown())
}

func TestDocsMetrics(t *testing.T) {
	t.Parallel()
	var counted doctest.Metrics
	if _, err := newMetrics(&counted); err != nil {
		t.Fatal(err)
	}
	doctest.Part(t, "metrics.md", "worker", counted.Markdown(t))
}

func quarantineMarkdown() string {
	var table strings.Builder
	table.WriteString("| Failure class | What it is | Never accepted before | Accepted before | Checked again | In quarantine as | and then checked |\n")
	table.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, q := range quarantine.Rules() {
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
