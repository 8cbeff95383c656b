package phrase

import "testing"

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
