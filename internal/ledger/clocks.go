package ledger

import (
	"time"

	"revalidator/internal/iap"
)

// When the clock is taken to be wrong, and when to be right again.
const (
	// clockReplies are enough that differ from the clock, within clockWithin of
	// each other, and all by the same but for clockAlike.
	clockReplies = 3
	clockWithin  = 5 * time.Minute
	clockAlike   = time.Minute
	// clockProbeEvery is the time between two checks while the others are held;
	// clockProbes of them in a row must agree to end that.
	clockProbeEvery = time.Minute
	clockProbes     = 2
	// clockKept is how many replies are remembered.
	clockKept = 20
	// clockFarthest is the largest difference that is told apart.
	clockFarthest = 100 * 365 * 24 * time.Hour
)

// ClockDiffersWithin is more than a receipt waits after a reply that differs. A next
// check for that reason which is further away was set by a clock that was ahead and
// has been corrected since.
const ClockDiffersWithin = 2 * time.Hour

// EndpointClock is what replies of one of Apple's endpoints say against our
// clock. There is none while they agree with it.
type EndpointClock struct {
	Environment iap.Environment
	// Replies are the last that differed, oldest first.
	Replies []ClockReply
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

// ClockReply is a reply whose time differed: when it came by the clock, and how
// far ahead of the clock it was.
type ClockReply struct {
	At    time.Time     `json:"at"`
	Ahead time.Duration `json:"ahead"`
}

// Held is whether checks of the endpoint are held.
func (c EndpointClock) Held() bool { return c.HeldSince != nil }

// ProbeDue is whether a check is let through now. A probe that is further away
// than probes ever are was set by a clock that has been corrected since.
func (c EndpointClock) ProbeDue(now time.Time) bool {
	return c.Held() && (!c.NextProbeAt.After(now) || c.NextProbeAt.After(now.Add(clockProbeEvery)))
}

// Probing is c while a probe is on its way.
func (c EndpointClock) Probing(now time.Time) EndpointClock {
	c.NextProbeAt = now.Add(clockProbeEvery)
	return c
}

// Differed is c after a reply that differs. Since what agreed before is no sign
// of a wrong clock, alone forgets the replies so far.
func (c EndpointClock) Differed(r ClockReply, alone bool) EndpointClock {
	r.Ahead = min(max(r.Ahead, -clockFarthest), clockFarthest)
	if c.Held() {
		c.Ahead, c.Agreed = r.Ahead, 0
		return c
	}
	var kept []ClockReply
	for _, known := range c.Replies {
		if !alone && r.At.Sub(known.At).Abs() <= clockWithin {
			kept = append(kept, known)
		}
	}
	kept = append(kept, r)
	c.Replies = kept[max(0, len(kept)-clockKept):]
	if alike(c.Replies, r.Ahead) >= clockReplies {
		c.HeldSince, c.Ahead, c.NextProbeAt, c.Agreed, c.Replies = &r.At, r.Ahead, r.At.Add(clockProbeEvery), 0, nil
	}
	return c
}

// alike is the most replies that differ by the same, one of them by so much.
func alike(replies []ClockReply, ahead time.Duration) (most int) {
	for _, least := range replies {
		if least.Ahead > ahead || ahead-least.Ahead > clockAlike {
			continue
		}
		n := 0
		for _, r := range replies {
			if r.Ahead >= least.Ahead && r.Ahead-least.Ahead <= clockAlike {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// ProbeAgreed is c after a probe that agrees with the clock; over where that
// ends the hold.
func (c EndpointClock) ProbeAgreed() (after EndpointClock, over bool) {
	c.Agreed++
	return c, c.Agreed >= clockProbes
}
