package report

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

func TestRunEvery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, schedule string
		want           time.Duration
	}{
		{"nightly", "0 2 * * *", 24 * time.Hour},
		{"hourly", "15 * * * *", time.Hour},
		{"twice a day", "0 2,8 * * *", 12 * time.Hour},
		{"on working days", "0 2 * * 1-5", 33*time.Hour + 36*time.Minute},
		{"never", "0 2 30 2 *", 0},
	}
	for _, test := range tests {
		schedule, err := cron.ParseStandard(test.schedule)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Schedule{Schedule: schedule, Zone: time.UTC}).Every(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
