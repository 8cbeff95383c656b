package simulation

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"revalidator/internal/iap"
)

// bin is how fine staleness is kept.
const bin = 5 * time.Minute

// Figures are what a policy found of one kind of change.
type Figures struct {
	Detected, Missed int
	// Hidden is how many of Missed lie in a return of the customer that the
	// policy had not seen yet.
	Hidden int
	// Beyond is how many of Detected the policy that it is held against missed.
	Beyond int

	bins []uint32 // Detected, by staleness
	max  time.Duration
	// hours is the staleness of all of Detected, and for how long those that
	// were missed could be seen. A time.Duration holds 292 years only.
	hours float64
}

func (f *Figures) found(staleness time.Duration) {
	staleness = max(staleness, 0)
	f.Detected++
	f.hours += staleness.Hours()
	f.max = max(f.max, staleness)
	n := int(staleness / bin)
	for len(f.bins) <= n {
		f.bins = append(f.bins, 0)
	}
	f.bins[n]++
}

// Quantile is the staleness that a share of the changes does not exceed.
func (f *Figures) Quantile(q float64) time.Duration {
	left := q * float64(f.Detected)
	for n, count := range f.bins {
		if left -= float64(count); left <= 0 && f.Detected > 0 {
			return min(time.Duration(n+1)*bin, f.max)
		}
	}
	return f.max
}

// Max is the longest staleness.
func (f *Figures) Max() time.Duration { return f.max }

// Delay is for how long a change of the kinds goes unseen on average, those that
// are missed included.
func (r *Result) Delay(of ...Kind) time.Duration {
	var hours float64
	n := 0
	for _, k := range of {
		f := &r.Kinds[k]
		hours += f.hours
		n += f.Detected + f.Missed
	}
	return time.Duration(hours / float64(max(n, 1)) * float64(time.Hour))
}

// Reason is what a policy spent calls on, and what came of them.
type Reason struct {
	Why          string
	Calls, Found int
}

// Result is what a policy did.
type Result struct {
	Policy *Policy
	Calls  int
	Kinds  [kinds]Figures

	// against is what the policy is held against, nil for nothing.
	against *Result

	reasons map[string]*Reason
	visits  []visit
	found   []int // of each change, the visit that found it, or -1
}

func newResult(p *Policy) *Result { return &Result{Policy: p, reasons: map[string]*Reason{}} }

// Detected is how many changes were found, of all kinds.
func (r *Result) Detected() int {
	var n int
	for _, k := range r.Kinds {
		n += k.Detected
	}
	return n
}

// Reasons lists what calls were spent on, most of them first.
func (r *Result) Reasons() []Reason {
	var all []Reason
	for _, reason := range r.reasons {
		all = append(all, *reason)
	}
	slices.SortFunc(all, func(a, b Reason) int { return cmp.Or(b.Calls-a.Calls, cmp.Compare(a.Why, b.Why)) })
	return all
}

// watch lets the policy look at a history. Changes count that are visible to
// everyone who looks each night, and began in the days that count.
func (r *Result) watch(h *history, id int64, counts []bool, end moment) {
	r.visits = r.Policy.play(h, id, end+aftermath, r.visits[:0])
	for _, v := range r.visits[1:] {
		if v.at >= 0 && v.at < end {
			r.Calls++
			r.reason(v.why).Calls++
		}
	}
	r.found = h.foundBy(r.visits, r.found[:0])
	for i, c := range h.changes {
		if counts[i] {
			r.count(h, i, c, end)
		}
	}
}

func (r *Result) reason(why string) *Reason {
	if r.reasons[why] == nil {
		r.reasons[why] = &Reason{Why: why}
	}
	return r.reasons[why]
}

func (r *Result) count(h *history, i int, c change, end moment) {
	f := &r.Kinds[c.kind]
	if n := r.found[i]; n >= 0 {
		f.found(r.visits[n].at - c.at)
		if r.against != nil && r.against.found[i] < 0 {
			f.Beyond++
		}
		r.reason(r.visits[n].why).Found++
		return
	}
	f.Missed++
	f.hours += (min(c.until, end+aftermath) - c.at).Hours()
	for j, back := range h.changes[:i] {
		if back.kind != Resubscribe && back.kind != LateReturn {
			continue
		}
		if n := r.found[j]; n < 0 || r.visits[n].at >= c.until {
			f.Hidden++
			return
		}
	}
}

// foundBy appends for each change the first visit that shows it, or -1.
func (h *history) foundBy(visits []visit, found []int) []int {
	for _, c := range h.changes {
		n, _ := slices.BinarySearchFunc(visits, c.visible, func(v visit, at moment) int { return cmp.Compare(v.at, at) })
		if n >= len(visits) || visits[n].at >= c.until {
			n = -1
		}
		found = append(found, n)
	}
	return found
}

// counting appends for each change whether it counts: it begins in the days
// that count, and whoever looks each night sees it.
func (h *history) counting(nightly []int, end moment, counts []bool) []bool {
	for i, c := range h.changes {
		counts = append(counts, c.visible >= 0 && c.visible < end && nightly[i] >= 0)
	}
	return counts
}

// Census is who was there at moment 0.
type Census struct {
	Status  map[iap.Status]int
	Product map[string]int // of those with access or a failed payment
}

func (c *Census) add(h *history) {
	if h.born > 0 {
		return
	}
	ph := h.phases[h.phaseAt(0, 0)]
	c.Status[ph.status]++
	if h.liveAt(0) {
		c.Product[h.periods[ph.period].product.name]++
	}
}

// Products lists the products of the census by name.
func (c *Census) Products() []string { return slices.Sorted(maps.Keys(c.Product)) }
