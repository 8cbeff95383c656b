package repository

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/runs"
)

// TestPageOf goes through filters step by step: nothing is left out, or looked at
// twice.
func TestPageOf(t *testing.T) {
	t.Parallel()
	many := make([]int64, 2*chosenTogether+5)
	for i := range many {
		many[i] = int64(3 * (i + 1))
	}
	twice := append([]int64{1, 1, 2}, many...)
	for name, test := range map[string]struct {
		filter  runs.Filter
		until   int64
		want    []int64 // where the steps end
		wantIDs int
	}{
		"all":           {runs.Filter{}, chosenTogether + 1, []int64{chosenTogether, chosenTogether + 1}, 0},
		"nothing there": {runs.Filter{}, 0, []int64{0}, 0},
		"customers":     {runs.Filter{CustomerRefs: []string{"a"}}, 10 * chosenTogether, []int64{10 * chosenTogether}, 0},
		"few ids":       {runs.Filter{IDs: []int64{4, 7}}, 1e6, []int64{1e6}, 2},
		"many ids": {runs.Filter{IDs: many}, 1e6,
			[]int64{3 * chosenTogether, 6 * chosenTogether, 1e6}, len(many)},
		"ids twice":             {runs.Filter{IDs: twice}, 1e6, []int64{3*chosenTogether - 9, 6*chosenTogether - 9, 1e6}, len(twice)},
		"ids of later receipts": {runs.Filter{IDs: many}, 30, []int64{30}, chosenTogether},
	} {
		var ends []int64
		ids := 0
		for from := int64(0); ; {
			page, upTo := pageOf(test.filter, from, test.until)
			ends, ids = append(ends, upTo), ids+len(page.IDs)
			for _, id := range page.IDs {
				if id <= from || (id > upTo && upTo < test.until) {
					t.Errorf("%s: id %d in the step from %d to %d", name, id, from, upTo)
				}
			}
			if from = upTo; upTo >= test.until {
				break
			}
		}
		if diff := cmp.Diff(test.want, ends); diff != "" || ids != test.wantIDs {
			t.Errorf("%s: %d ids, want %d; ends of steps (-want +got)\n%s", name, ids, test.wantIDs, diff)
		}
	}
}
