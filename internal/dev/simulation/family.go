package simulation

import (
	"slices"

	"revalidator/internal/iap"
)

// Family is what customers cost who hand in several receipts of one subscription.
type Family struct {
	// Receipts is how many each customer hands in, the first when it buys and
	// the others at any time.
	Receipts int
	// Alone are the calls where each receipt is checked by itself, Covered those
	// where one is checked and the others rest, and Rests how often one of these
	// was due and did not need a call.
	Alone, Covered, Rests int
}

// Families counts calls of our nightly policy for customers with so many receipts
// each.
func Families(c Config, receipts ...int) []Family {
	policy := Planned("c", "ours, nightly", iap.DefaultPolicy())
	end := moment(c.Days) * day
	families := make([]Family, len(receipts))
	for i, n := range receipts {
		families[i].Receipts = n
	}
	most := slices.Max(receipts)
	var first, own []visit
	for id := range int64(c.Subscriptions) {
		h := c.life(id, end)
		first = policy.play(h, id, end, first[:0])
		calls := counted(first, end)
		for i := range families {
			families[i].Alone += calls
			families[i].Covered += calls
		}
		for n := 1; n < most; n++ {
			// Receipts come in over the whole life, most of them before the
			// days that count.
			other := id + int64(n)*int64(c.Subscriptions)
			from := first[0].at + (end-first[0].at)/1024*fraction(uint64(other))
			own = policy.playFrom(from, h, other, end, own[:0])
			alone := counted(own, end)
			covered, rests := policy.covered(first, own, end)
			for i := range families {
				if n < families[i].Receipts {
					families[i].Alone += alone
					families[i].Covered += covered
					families[i].Rests += rests
				}
			}
		}
	}
	return families
}

func counted(visits []visit, end moment) (calls int) {
	for _, v := range visits {
		if v.at >= 0 && v.at < end {
			calls++
		}
	}
	return calls
}

// covered is how many calls a receipt costs that is checked once when it comes in
// and then covered by another one, and how often it rests: it is due two days after
// the next check of that one, and rests again if that check came by then.
func (p *Policy) covered(covering, own []visit, end moment) (calls, rests int) {
	calls = counted(own[:1], end)
	for at := own[0].at; ; {
		i, _ := slices.BinarySearchFunc(covering, at, func(v visit, at moment) int {
			if v.at <= at {
				return -1
			}
			return 1
		})
		if i == 0 || covering[i-1].due == never {
			return calls, rests // nothing covers it, and nothing is expected
		}
		next := covering[i-1].due
		at = p.slot(next + iap.CoveredAfter)
		switch isFresh := i < len(covering) && covering[i].at <= at; {
		case at >= end:
			return calls, rests
		case at < 0:
		case isFresh:
			rests++
		default:
			calls++
		}
	}
}
