package forecast

import (
	"slices"

	"revalidator/internal/iap"
)

// Group is how many receipts of a budget have their next check by a rule in the
// run of a slot, which is the first that starts when they are due or later.
type Group struct {
	Budget   Budget
	Rule     iap.Rule
	Slot     int
	Receipts int64
}

// OneIn says of each app which part of its receipts to look at, so that they
// are about most together: 1 is all of them, 20 is one in 20. Apps with few
// receipts are read whole, before large ones get what is left.
func OneIn(groups []Group, most int64) map[string]int64 {
	counts := make(map[string]int64)
	for _, g := range groups {
		counts[g.Budget.BundleID] += g.Receipts
	}
	sizes := make([]int64, 0, len(counts))
	for _, n := range counts {
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	var share int64
	for i, n := range sizes {
		share = max(1, most/int64(len(sizes)-i))
		most -= min(n, share)
	}
	// Going up, the share of the last is that of all which do not fit whole.
	oneIn := make(map[string]int64, len(counts))
	for app, n := range counts {
		oneIn[app] = max(1, (n+share-1)/share)
	}
	return oneIn
}

// Weigh makes the receipts of a sample stand for their groups. A group that the
// sample has none of is one receipt of which nothing is known.
func Weigh(groups []Group, sample []Receipt, slots []Slot) []Receipt {
	type cell struct {
		budget Budget
		rule   iap.Rule
		slot   int
	}
	cellOf := func(r Receipt) cell {
		slot, _ := slices.BinarySearchFunc(slots, r, func(s Slot, r Receipt) int { return s.Start.Compare(r.DueAt) })
		return cell{r.Budget, r.Rule, slot}
	}
	sampled := make(map[cell]float64)
	for _, r := range sample {
		sampled[cellOf(r)]++
	}
	weights := make(map[cell]float64)
	weighed := slices.Clone(sample)
	for _, g := range groups {
		c := cell{g.Budget, g.Rule, g.Slot}
		if sampled[c] == 0 {
			weighed = append(weighed, Receipt{
				Budget: g.Budget, Rule: g.Rule, DueAt: slots[g.Slot].Start, Weight: float64(g.Receipts),
			})
			continue
		}
		weights[c] = float64(g.Receipts) / sampled[c]
	}
	for i, r := range sample {
		// What came between the count and the sample stands for itself.
		weighed[i].Weight = max(weights[cellOf(r)], 1)
	}
	return weighed
}
