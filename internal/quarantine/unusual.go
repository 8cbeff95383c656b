package quarantine

import (
	"cmp"
	"maps"
	"slices"

	"revalidator/internal/iap"
)

// Verdict is what is believed of a receipt after enough failures: a state of
// iap.QuarantineStates, and when the receipt is checked in quarantine.
type Verdict struct {
	State     iap.ReceiptState
	NextCheck iap.Check
}

// Figures count an app's receipts that Apple accepted before and that are not in
// quarantine, each once for a day of UTC: those that were checked with a success
// or with a failure that accuses the receipt, and those that got each such class.
type Figures struct {
	Checked int64
	Accused map[string]int64
}

// Unusual is from when on a class of failures is more likely a fault than true:
// at least Receipts of an app's receipts, and at least Share of those checked
// within a day, got it.
type Unusual struct {
	Receipts int64
	Share    float64
}

// DefaultUnusual is 20 receipts, and 5 % of them.
func DefaultUnusual() Unusual { return Unusual{Receipts: 20, Share: 0.05} }

// Classes lists the unusual classes, that of the most receipts first.
func (u Unusual) Classes(f Figures) []string {
	var unusual []string
	for _, class := range slices.Sorted(maps.Keys(f.Accused)) {
		if n := f.Accused[class]; n >= u.Receipts && float64(n) >= u.Share*float64(f.Checked) {
			unusual = append(unusual, class)
		}
	}
	slices.SortStableFunc(unusual, func(a, b string) int { return cmp.Compare(f.Accused[b], f.Accused[a]) })
	return unusual
}

// IsNormal is whether nothing in the figures of a day is unusual, and they are of
// enough receipts to say so: as many as make a class unusual, or all that the app
// has.
func (u Unusual) IsNormal(f Figures, receipts int64) bool {
	return f.Checked > 0 && f.Checked >= min(u.Receipts, receipts) && len(u.Classes(f)) == 0
}

// Change is that an app's quarantining was stopped, or resumed by itself.
type Change struct {
	BundleID string
	// Stopped is false where it resumed.
	Stopped bool
	// Class is the failure for which it was stopped, Accused how many receipts
	// got it within a day, of Checked.
	Class            string
	Accused, Checked int64
}
