package clock

import (
	"time"

	"revalidator/internal/iap"
)

// When the clock is taken to be wrong, and when to be right again.
const (
	// suspectReplies are enough that differ from the clock, within suspectWithin of
	// each other, and all by the same but for suspectAlike.
	suspectReplies = 3
	suspectWithin  = 5 * time.Minute
	suspectAlike   = time.Minute
	// probeEvery is the time between two checks while the others are held;
	// probesToAgree of them in a row must agree to end that.
	probeEvery    = time.Minute
	probesToAgree = 2
	// repliesKept is how many replies are remembered.
	repliesKept = 20
	// farthest is the largest difference that is distinguished.
	farthest = 100 * 365 * 24 * time.Hour
)

// DiffersWithin is more than a receipt waits after a reply that differs. A next
// check for that reason which is further away was set by a clock that was ahead and
// has been corrected since.
const DiffersWithin = 2 * time.Hour

// Endpoint is what replies of one of Apple's endpoints say against our
// clock. There is none while they agree with it.
type Endpoint struct {
	Environment iap.Environment
	// Replies are the last that differed, oldest first.
	Replies []Reply
	// HeldSince is since when checks are held, because the clock is wrong; nil
	// while they are not. The other fields are of such a time.
	HeldSince *time.Time
	// Ahead is by how much Apple's time is ahead of the clock, negative where it
	// is behind.
	Ahead time.Duration
	// NextProbeAt is when the next check is let through, to try the clock.
	NextProbeAt time.Time
	// Agreed is how many of these in a row have agreed with the clock.
	Agreed int
}

// Reply is a reply whose time differed: when it came by the clock, and how
// far ahead of the clock it was.
type Reply struct {
	At    time.Time     `json:"at"`
	Ahead time.Duration `json:"ahead"`
}

// Held is whether checks of the endpoint are held.
func (c Endpoint) Held() bool { return c.HeldSince != nil }

// ProbeDue is whether a check is let through now. A probe that is further away
// than probes ever are was set by a clock that has been corrected since.
func (c Endpoint) ProbeDue(now time.Time) bool {
	return c.Held() && (!c.NextProbeAt.After(now) || c.NextProbeAt.After(now.Add(probeEvery)))
}

// Probing is c while a probe is on its way.
func (c Endpoint) Probing(now time.Time) Endpoint {
	c.NextProbeAt = now.Add(probeEvery)
	return c
}

// Differed is c after a reply that differs. Since what agreed before is no sign
// of a wrong clock, alone forgets the replies so far.
func (c Endpoint) Differed(r Reply, alone bool) Endpoint {
	r.Ahead = min(max(r.Ahead, -farthest), farthest)
	if c.Held() {
		c.Ahead, c.Agreed = r.Ahead, 0
		return c
	}
	var kept []Reply
	for _, known := range c.Replies {
		if !alone && r.At.Sub(known.At).Abs() <= suspectWithin {
			kept = append(kept, known)
		}
	}
	kept = append(kept, r)
	c.Replies = kept[max(0, len(kept)-repliesKept):]
	if alike(c.Replies, r.Ahead) >= suspectReplies {
		c.HeldSince, c.Ahead, c.NextProbeAt, c.Agreed, c.Replies = &r.At, r.Ahead, r.At.Add(probeEvery), 0, nil
	}
	return c
}

// alike is the most replies that differ by the same, one of them by so much.
func alike(replies []Reply, ahead time.Duration) (most int) {
	for _, least := range replies {
		if least.Ahead > ahead || ahead-least.Ahead > suspectAlike {
			continue
		}
		n := 0
		for _, r := range replies {
			if r.Ahead >= least.Ahead && r.Ahead-least.Ahead <= suspectAlike {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// ProbeAgreed is c after a probe that agrees with the clock; over where that
// ends the hold.
func (c Endpoint) ProbeAgreed() (after Endpoint, over bool) {
	c.Agreed++
	return c, c.Agreed >= probesToAgree
}
