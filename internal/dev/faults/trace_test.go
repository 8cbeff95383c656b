package faults

import (
	"strings"
	"testing"

	"revalidator/internal/claim"
)

// TestReplay tells a night that keeps to the rules from those that do not.
func TestReplay(t *testing.T) {
	t.Parallel()
	free := func(generation int64) claim.State { return claim.State{Generation: generation, Due: true} }
	held := func(generation int64) claim.State {
		return claim.State{Generation: generation, Claimed: true, Due: true}
	}
	for name, test := range map[string]struct {
		changes []change
		want    string
	}{
		"two receipts, one of them released and claimed again": {[]change{
			{1, free(0), held(1), false}, {2, free(4), held(5), false}, {1, held(1), free(1), false},
			{1, free(1), held(2), false}, {1, held(2), free(2), true}, {2, held(5), free(5), true},
		}, ""},
		"a result that nobody holds a claim for": {[]change{{1, free(1), free(1), true}}, "not a step"},
		"a claim of what is claimed":             {[]change{{1, free(0), held(1), false}, {1, held(1), held(2), false}}, "not a step"},
		"a gap":                                  {[]change{{1, free(0), held(1), false}, {1, free(1), held(2), false}}, "follows one to"},
		"a result of one generation twice": {[]change{
			{1, held(1), free(1), true}, {1, held(1), free(1), true},
		}, "stored twice"},
	} {
		complaints, err := replay(func(yield func(change, error) bool) {
			for _, c := range test.changes {
				if !yield(c, nil) {
					return
				}
			}
		})
		text := strings.Join(complaints, "\n")
		if err != nil || (test.want == "") != (text == "") || !strings.Contains(text, test.want) {
			t.Errorf("%s: got %q and %v, want %q", name, text, err, test.want)
		}
	}
}
