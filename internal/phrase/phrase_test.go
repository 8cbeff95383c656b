package phrase

import (
	"testing"
	"time"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 12345: "12,345", 999_999: "999,999", 1_000_000: "1M", 9_876_543: "9.88M", 123_456_789: "123M"} {
		if got := Count(n); got != want {
			t.Errorf("count of %d: got %s, want %s", n, got, want)
		}
	}
	for seconds, want := range map[float64]string{0: "0s", 1.26: "1.3s", 59.9: "59.9s", 61.4: "1m1s", 3600: "1h0m", 28923: "8h2m"} {
		if got := Duration(seconds); got != want {
			t.Errorf("duration of %v seconds: got %s, want %s", seconds, got, want)
		}
	}
}

// TestTimeAgo: a span is never rounded to a unit that hides half of it.
func TestTimeAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]string{
		0: "now", 59 * time.Second: "59 seconds from now", -61 * time.Minute: "1 hour ago", -36 * time.Hour: "36 hours ago",
		13*day + 12*time.Hour: "13 days from now", -59 * day: "59 days ago", -70 * day: "2 months ago", -23 * month: "23 months ago",
		-(8*year + 10*month + day): "8 years 10 months ago", -(9*year + day): "9 years ago",
	} {
		if got := ago(now.Add(after), now); got != want {
			t.Errorf("%v: got %q, want %q", after, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]string{0.001: "0.001", 2.5: "2.5", 10: "10", 12345: "12,345", 1e9: "1,000,000,000"} {
		if got := Rate(n); got != want {
			t.Errorf("rate %v: got %s, want %s", n, got, want)
		}
	}
}
