package terminal

import (
	"strings"
	"testing"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		pieces []string
		want   string
	}{
		{"nothing", nil, "\n"},
		{"one line", []string{"12345", "789"}, "@12345 789\n"},
		{"full line", []string{"12345", "7890"}, "@12345 7890\n"},
		{"broken", []string{"12345", "78901"}, "@12345\n@78901\n"},
		{"too long by itself", []string{"1", "123456789012345", "1"}, "@1\n@123456789012345\n@1\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got, want := Wrap(70, test.pieces...), strings.ReplaceAll(test.want, "@", strings.Repeat(" ", 70)); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
