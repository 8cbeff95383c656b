package terminal

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Percent{"30%": 0.3, "100%": 1, "0.5%": 0.005, "12.5%": 0.125} {
		var got Percent
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", text, float64(got), err, float64(want))
		}
		if got.String() != text {
			t.Errorf("%s is shown as %s", text, got)
		}
	}
	for _, text := range []string{"", "%", "30", "0.3", "NaN%", "-1%", "0%", "100.1%", "Inf%", "30 %"} {
		if err := new(Percent).Set(text); err == nil {
			t.Errorf("%q is taken for a percentage", text)
		}
	}
}

func TestTimeOrAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Time{
		"":                          {},
		"2026-02-28":                time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC),
		"2026-02-28T23:00:00+02:00": time.Date(2026, 2, 28, 21, 0, 0, 0, time.UTC),
		"7d":                        time.Date(2026, 2, 22, 12, 0, 0, 0, time.UTC),
		"1w12h":                     time.Date(2026, 2, 22, 0, 0, 0, 0, time.UTC),
	}
	for text, want := range tests {
		if got, err := TimeOrAgo("--flag", text, now); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestTimeRange(t *testing.T) {
	t.Parallel()
	january, february := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string][2]time.Time{
		"":                                 {},
		"2026-01-01..2026-02-01":           {january, february},
		"2026-01-01..":                     {january},
		"..2026-02-01":                     {{}, february},
		"2026-01-01T01:00:00+01:00..":      {january},
		"2026-01-01..2026-02-01T00:00:00Z": {january, february},
	}
	for text, want := range tests {
		from, until, err := TimeRange("--flag", text)
		if err != nil || from != want[0] || until != want[1] {
			t.Errorf("%q: got %v to %v, %v; want %v", text, from, until, err, want)
		}
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	many := make([]string, maxChoices+2)
	for i := range many {
		many[i] = fmt.Sprintf("com.example.app%02d", i)
	}
	statuses := []string{"active", "expired", "billing_retry"}
	tests := []struct {
		flag, value string
		known       []string
		want        string
	}{
		{"--status", "expird", statuses, "--status: unknown status \"expird\"; did you mean expired?\nChoose from active, expired, billing_retry"},
		{"--last-class", "lapsed", statuses, "--last-class: unknown last class \"lapsed\"\nChoose from active, expired, billing_retry"},
		{"--status", "bill", statuses, "--status: unknown status \"bill\"; did you mean billing_retry?\nChoose from active, expired, billing_retry"},
		{"--app", "x", nil, "--app: unknown app \"x\": there are none yet"},
		{"--app", "x", many, "--app: unknown app \"x\"\nChoose from " + strings.Join(many[:maxChoices], ", ") + " and 2 more"},
	}
	for _, test := range tests {
		if got := Unknown(test.flag, test.value, test.known).Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
