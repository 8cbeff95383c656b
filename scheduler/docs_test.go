package scheduler

import (
	"testing"

	"revalidator/internal/dev/doctest"
)

func TestDocsMetrics(t *testing.T) {
	t.Parallel()
	var counted doctest.Metrics
	if _, err := newMetrics(&counted, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	doctest.Part(t, "metrics.md", "scheduler", counted.Markdown(t))
}
