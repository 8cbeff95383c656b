package report

import (
	"slices"
	"testing"
)

// TestFirstOf holds a list that is cut to saying so.
func TestFirstOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		found      []int
		want       int
		incomplete []string
	}{{[]int{1, 2}, 2, nil}, {[]int{1, 2, 3}, 2, []string{"purchases"}}} {
		var incomplete []string
		got := firstOf(test.found, 2, "purchases", &incomplete)
		if len(got) != test.want || !slices.Equal(incomplete, test.incomplete) {
			t.Errorf("%v: got %v and %q", test.found, got, incomplete)
		}
	}
}
