package iap_test

import (
	"strings"
	"testing"

	"revalidator/internal/dev/doctest"
	"revalidator/internal/iap"
)

// TestDocsPolicy holds the document that people read to the policy.
func TestDocsPolicy(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| Rule | State | Looked at |\n| --- | --- | --- |\n")
	for _, row := range iap.DefaultPolicy().Table() {
		table.WriteString(doctest.Row("`"+string(row.Rule)+"`", row.State, row.When))
	}
	doctest.Part(t, "schedule.md", "policy", table.String())
}
