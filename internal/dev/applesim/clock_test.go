package applesim

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	t.Parallel()
	real := fixedNow()
	c := NewClock(start, 0, func() time.Time { return real })
	steps := []struct {
		name string
		do   func()
		want time.Duration // after start
	}{
		{"frozen", func() { real = real.Add(time.Hour) }, 0},
		{"advanced", func() { c.Advance(time.Minute) }, time.Minute},
		{"set running", func() { c.SetSpeed(3600) }, time.Minute},
		{"an hour a second", func() { real = real.Add(2 * time.Second) }, 2*time.Hour + time.Minute},
		{"advanced while running", func() { c.Advance(time.Minute) }, 2*time.Hour + 2*time.Minute},
		{"slowed without a jump", func() { c.SetSpeed(1) }, 2*time.Hour + 2*time.Minute},
		{"real time", func() { real = real.Add(time.Minute) }, 2*time.Hour + 3*time.Minute},
		{"set back", func() { c.Set(start.Add(-time.Hour)) }, -time.Hour},
	}
	for _, step := range steps {
		step.do()
		if got := c.Now(); !got.Equal(start.Add(step.want)) {
			t.Errorf("%s: got %s, want %s", step.name, got, start.Add(step.want))
		}
	}
	if got := c.Speed(); got != 1 {
		t.Errorf("speed: got %v, want 1", got)
	}
}
