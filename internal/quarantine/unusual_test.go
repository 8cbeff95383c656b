package quarantine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/quarantine"
)

func TestUnusual(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		figures  quarantine.Figures
		receipts int64
		unusual  []string
		normal   bool
	}{
		"nothing checked":                 {quarantine.Figures{}, 100, nil, false},
		"all good":                        {quarantine.Figures{Checked: 100}, 100, nil, true},
		"too few checked to say so":       {quarantine.Figures{Checked: 19}, 100, nil, false},
		"all of a small app":              {quarantine.Figures{Checked: 3}, 3, nil, true},
		"not all of a small app":          {quarantine.Figures{Checked: 2}, 3, nil, false},
		"20 of 400":                       {quarantine.Figures{Checked: 400, Accused: map[string]int64{"a": 20}}, 400, []string{"a"}, false},
		"20 of 401":                       {quarantine.Figures{Checked: 401, Accused: map[string]int64{"a": 20}}, 401, nil, true},
		"19 of 19":                        {quarantine.Figures{Checked: 19, Accused: map[string]int64{"a": 19}}, 19, nil, true},
		"several, that of the most first": {quarantine.Figures{Checked: 90, Accused: map[string]int64{"a": 20, "b": 40, "c": 3, "d": 20}}, 90, []string{"b", "a", "d"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := quarantine.DefaultUnusual()
			if diff := cmp.Diff(test.unusual, u.Classes(test.figures)); diff != "" {
				t.Errorf("unusual classes (-want +got)\n%s", diff)
			}
			if got := u.IsNormal(test.figures, test.receipts); got != test.normal {
				t.Errorf("normal: got %t, want %t", got, test.normal)
			}
		})
	}
}
