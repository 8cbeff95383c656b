package simulation

import (
	"testing"
)

// TestFamilies counts the calls of customers with one receipt and with several.
func TestFamilies(t *testing.T) {
	t.Parallel()
	c := Config{Population: Populations()[0], Subscriptions: 400, Days: 60, Seed: 1, Leads: LeadsMixed}
	got := Families(c, 1, 3, 12)
	if one := got[0]; one.Alone != one.Covered || one.Alone == 0 || one.Rests != 0 {
		t.Errorf("one receipt: %+v, want the same calls either way", one)
	}
	for _, f := range got[1:] {
		// Each of the others is checked once at most: when it comes in.
		if most := got[0].Covered + (f.Receipts-1)*c.Subscriptions; f.Covered > most || f.Rests == 0 {
			t.Errorf("%d receipts: %+v, want at most %d calls", f.Receipts, f, most)
		}
		if f.Alone < f.Covered*3/2 {
			t.Errorf("%d receipts: %+v, want far more calls without the rule", f.Receipts, f)
		}
	}
}
