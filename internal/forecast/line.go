package forecast

import (
	"cmp"
	"container/heap"
	"time"

	"revalidator/internal/iap"
)

// line is the receipts of one budget, which are asked about one after another.
type line struct {
	plan Plan
	rate float64
	// due is in the order in which it is asked about: what was left by a run
	// before comes first, as it has been due for longer.
	due    []Receipt
	future queue
	// free is when the work before is done; nothing falls due after last.
	free, last time.Time
}

func (l *line) start(slots []Slot) {
	if len(slots) > 0 {
		l.last = slots[len(slots)-1].Start
	}
	heap.Init(&l.future)
}

// run does the work of a slot.
func (l *line) run(s Slot) Load {
	load := Load{Checks: make(map[iap.Rule]float64)}
	for len(l.future) > 0 && !l.future[0].DueAt.After(s.Start) {
		r := heap.Pop(&l.future).(Receipt)
		load.New += r.Weight
		l.due = append(l.due, r)
	}
	at := s.Start
	if l.free.After(at) {
		at = l.free
	}
	for len(l.due) > 0 && at.Before(s.Until) {
		r := &l.due[0]
		part := *r
		part.Weight = min(r.Weight, s.Until.Sub(at).Seconds()*l.rate)
		at = at.Add(time.Duration(part.Weight / l.rate * float64(time.Second)))
		load.Checks[r.Rule] += part.Weight
		l.again(part, at)
		if r.Weight -= part.Weight; r.Weight > smallest {
			break // its rest is left, with all behind it
		}
		l.due = l.due[1:]
	}
	if len(load.Checks) > 0 {
		load.Lasts, l.free = at.Sub(s.Start), at
	}
	for _, r := range l.due {
		load.Left += r.Weight
	}
	return load
}

// smallest is a weight that is nothing but a rounding error.
const smallest = 1e-6

// again puts a receipt that was looked at where its next check is.
func (l *line) again(r Receipt, at time.Time) {
	if r.Known == nil {
		return
	}
	known := later(*r.Known, at)
	next := l.plan(r.Budget.BundleID, known, at, r.ID)
	if next.At.IsZero() || next.At.After(l.last) {
		return
	}
	r.Known, r.DueAt, r.Rule = &known, next.At, next.Rule
	heap.Push(&l.future, r)
}

// queue is a heap of receipts, the one that is due first at its head.
type queue []Receipt

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(q[i].DueAt.Compare(q[j].DueAt), cmp.Compare(q[i].ID, q[j].ID)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(r any)   { *q = append(*q, r.(Receipt)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	*q = (*q)[:last]
	return r
}
