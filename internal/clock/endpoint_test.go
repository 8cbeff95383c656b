package clock

import (
	"testing"
	"time"
)

// TestClockIsWrong lets replies come that differ from the clock, and looks at
// when that is taken to be wrong.
func TestClockIsWrong(t *testing.T) {
	t.Parallel()
	const h, m, s = time.Hour, time.Minute, time.Second
	type reply struct {
		after, ahead time.Duration
		alone        bool
	}
	for name, test := range map[string]struct {
		replies []reply
		want    bool
	}{
		"one":                             {[]reply{{0, h, false}}, false},
		"two":                             {[]reply{{0, h, false}, {s, h, false}}, false},
		"three":                           {[]reply{{0, h, false}, {s, h, false}, {s, h, false}}, true},
		"three of the same moment":        {[]reply{{0, -h, false}, {0, -h, false}, {0, -h, false}}, true},
		"three, behind":                   {[]reply{{0, -h, false}, {s, -h, false}, {s, -h, false}}, true},
		"three within five minutes":       {[]reply{{0, h, false}, {2 * m, h, false}, {3 * m, h, false}}, true},
		"three in more than five":         {[]reply{{0, h, false}, {2 * m, h, false}, {3*m + s, h, false}}, false},
		"the last three of four":          {[]reply{{0, h, false}, {4 * m, h, false}, {2 * m, h, false}, {2 * m, h, false}}, true},
		"three within a minute":           {[]reply{{0, h, false}, {s, h + 30*s, false}, {s, h + 60*s, false}}, true},
		"a minute and more":               {[]reply{{0, h, false}, {s, h + 30*s, false}, {s, h + 61*s, false}}, false},
		"two minutes around the last":     {[]reply{{0, h - 59*s, false}, {s, h + 59*s, false}, {s, h, false}}, false},
		"others among them":               {[]reply{{0, h, false}, {s, 3 * h, false}, {s, h, false}, {s, -h, false}, {s, h, false}}, true},
		"one ahead and two behind":        {[]reply{{0, h, false}, {s, -h, false}, {s, -h, false}}, false},
		"one agreed before the last":      {[]reply{{0, h, false}, {s, h, false}, {s, h, true}}, false},
		"one agreed before the first":     {[]reply{{0, h, true}, {s, h, false}, {s, h, false}}, true},
		"the clock was set between":       {[]reply{{0, h, false}, {s, h, false}, {-h, h, false}}, false},
		"three beyond what can be told":   {[]reply{{0, 1<<63 - 1, false}, {s, 1<<63 - 1, false}, {s, 1<<63 - 1, false}}, true},
		"both ends of what can be told":   {[]reply{{0, 1<<63 - 1, false}, {s, -1 << 63, false}, {s, 1<<63 - 1, false}}, false},
		"kept replies of different times": {[]reply{{0, -20 * h, false}, {s, -21 * h, false}, {s, -22 * h, false}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c Endpoint
			at := noon
			for i, r := range test.replies {
				if c.Held() {
					t.Errorf("held before reply %d", i+1)
				}
				at = at.Add(r.after)
				c = c.Differed(Reply{at, r.ahead}, r.alone)
			}
			if c.Held() != test.want {
				t.Errorf("held: got %v, want %v", c.Held(), test.want)
			}
			last := test.replies[len(test.replies)-1].ahead
			if c.Held() && (c.HeldSince != nil && !c.HeldSince.Equal(at) || c.Ahead.Truncate(h) != min(max(last, -farthest), farthest).Truncate(h)) {
				t.Errorf("held since %v with Apple ahead by %s, want %v and %s", c.HeldSince, c.Ahead, at, last)
			}
		})
	}
}

// TestRepliesDoNotPileUp where many differ, each by something else.
func TestRepliesDoNotPileUp(t *testing.T) {
	t.Parallel()
	var c Endpoint
	for i := range 1000 {
		c = c.Differed(Reply{noon, time.Duration(i) * time.Hour}, false)
	}
	if c.Held() || len(c.Replies) != repliesKept {
		t.Errorf("held: %v, %d replies; want none held and %d", c.Held(), len(c.Replies), repliesKept)
	}
}

// TestHoldEnds after two probes in a row that agree, one a minute.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	var c Endpoint
	for range 3 {
		c = c.Differed(Reply{noon, time.Hour}, false)
	}
	for at, want := range map[time.Duration]bool{
		0: false, 59 * time.Second: false, time.Minute: true, time.Hour: true,
		// The clock was set back: what is due in an hour by the wrong one is due.
		-time.Second: true, -time.Hour: true,
	} {
		if got := c.ProbeDue(noon.Add(at)); got != want {
			t.Errorf("probe due %s after: got %v, want %v", at, got, want)
		}
	}
	now := noon.Add(time.Minute)
	if c = c.Probing(now); c.ProbeDue(now) || !c.ProbeDue(now.Add(time.Minute)) {
		t.Error("want the next probe in a minute")
	}
	agree := func(want bool) {
		t.Helper()
		var over bool
		if c, over = c.ProbeAgreed(); over != want {
			t.Errorf("after a probe that agrees: over %v, want %v", over, want)
		}
	}
	agree(false)
	c = c.Differed(Reply{now, time.Hour}, false)
	agree(false)
	agree(true)
	if (Endpoint{}).ProbeDue(noon) {
		t.Error("a probe is due while nothing is held")
	}
}
