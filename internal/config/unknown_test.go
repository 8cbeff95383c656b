package config

import "testing"

func TestDistance(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		a, b string
		want int
	}{
		"same":       {"abc", "abc", 0},
		"both empty": {"", "", 0},
		"from empty": {"", "abc", 3},
		"to empty":   {"abc", "", 3},
		"substitute": {"abc", "abd", 1},
		"insert":     {"abc", "abxc", 1},
		"delete":     {"abxc", "abc", 1},
		"swap":       {"abcd", "abdc", 2},
		"well known": {"kitten", "sitting", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := distance(test.a, test.b); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
