package report

import (
	"cmp"
	"slices"
)

// comparison is counts by name of two runs.
type comparison[K cmp.Ordered] struct {
	this, before map[K]int64 // before is nil where there is no run before
}

func newComparison[K cmp.Ordered](compared bool) *comparison[K] {
	c := &comparison[K]{this: make(map[K]int64)}
	if compared {
		c.before = make(map[K]int64)
	}
	return c
}

func (c *comparison[K]) add(name K, n int64, earlier bool) {
	if earlier {
		c.before[name] += n
		c.this[name] += 0
		return
	}
	c.this[name] += n
}

// listed lists the figures of a comparison, the largest first.
func listed[K cmp.Ordered, T any](c *comparison[K], of func(K, Figure) T) []T {
	names := make([]K, 0, len(c.this))
	for name := range c.this {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b K) int {
		return cmp.Or(cmp.Compare(c.this[b], c.this[a]), cmp.Compare(c.before[b], c.before[a]), cmp.Compare(a, b))
	})
	items := make([]T, len(names))
	for i, name := range names {
		var before *int64
		if c.before != nil {
			n := c.before[name]
			before = &n
		}
		items[i] = of(name, newFigure(c.this[name], before))
	}
	return items
}
