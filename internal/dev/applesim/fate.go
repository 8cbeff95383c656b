package applesim

import (
	"math/rand/v2"
	"time"
)

// fate decides what a life does next.
type fate interface {
	// act is what happens in the period that begins.
	act() Act
	// fraction says when within a stretch of time, from 0 to 1.
	fraction() float64
	// comesBack says after how long the customer resubscribes, if at all.
	comesBack() (millis, bool)
	// lead is how long before its start a renewal shows.
	lead() millis
}

// drawn is the fate of a random customer.
type drawn struct {
	mix     *Mix
	random  *rand.Rand
	sandbox bool
}

func (d drawn) act() Act { return d.mix.draw(d.random.Float64()) }

func (d drawn) fraction() float64 { return 0.05 + 0.9*d.random.Float64() }

func (d drawn) comesBack() (millis, bool) {
	returns := d.random.Float64() < d.mix.Resubscribe
	gap := day.part(0.05 + 90*d.random.Float64()*d.random.Float64())
	return gap, returns
}

// lead: the App Store charges within the 24 hours before expiry. In the
// sandbox it is a matter of seconds.
func (d drawn) lead() millis {
	if d.sandbox {
		return millis(d.random.IntN(10)) * 1000
	}
	return millis(d.random.IntN(12*3600)) * 1000
}

// scripted is the fate of a Story: its acts in order, each at half time, and
// renewals at the moment of expiry, so that a test can reckon in its head.
type scripted struct {
	acts []Act
	gap  time.Duration
}

func (s *scripted) act() Act {
	if len(s.acts) == 0 {
		return ActRenew
	}
	next := s.acts[0]
	s.acts = s.acts[1:]
	return next
}

func (s *scripted) fraction() float64 { return 0.5 }

func (s *scripted) comesBack() (millis, bool) { return millis(s.gap.Milliseconds()), s.gap > 0 }

func (s *scripted) lead() millis { return 0 }
