package judge

import (
	"cmp"
	"slices"
	"time"

	"revalidator/internal/dev/applesim"
)

// clockTolerance is by how much the time of an answer may be off for its facts
// to be stored.
const clockTolerance = 10 * time.Minute

// isOff reports whether nothing of an answer may be stored, because its time is
// too far from the App Store's.
func isOff(e applesim.Entry) bool { return e.Dated.Sub(e.SimulatedTime).Abs() > clockTolerance }

// answer is what one answer told of a subscription, or of a purchase.
type answer struct {
	applesim.Told
	subscription *applesim.ToldSubscription
	purchase     *applesim.ToldPurchase
}

// answers are those of the log that told something which may be stored, by row
// and in the order of the App Store's time; and when those were dated whose time
// was off.
type answers struct {
	of  map[key][]answer
	off map[int64]bool
}

func (j *Judge) answers() answers {
	all := answers{make(map[key][]answer), make(map[int64]bool)}
	for told := range j.sim.Told(0) {
		if mayBeWhole(told.Entry) && isWhole(told) {
			told.Fault = ""
		}
		switch {
		case !mayBeStored(told.Entry):
		case isOff(told.Entry):
			all.off[ms(told.Dated)] = true
		default:
			all.add(told)
		}
	}
	for _, list := range all.of {
		slices.SortStableFunc(list, func(a, b answer) int { return cmp.Compare(ms(a.Dated), ms(b.Dated)) })
	}
	return all
}

func (a answers) add(told applesim.Told) {
	for i := range told.Subscriptions {
		s := &told.Subscriptions[i]
		k := key{subscriptionsTable, told.BundleID, told.Environment, s.OriginalTransactionID}
		a.of[k] = append(a.of[k], answer{told, s, nil})
	}
	for i := range told.Purchases {
		p := &told.Purchases[i]
		k := key{purchasesTable, told.BundleID, told.Environment, p.TransactionID}
		a.of[k] = append(a.of[k], answer{told, nil, p})
	}
}

// dated are the answers of a row that were dated at the moment.
func (a answers) dated(k key, moment int64) []answer {
	list := a.of[k]
	i, _ := slices.BinarySearchFunc(list, moment, func(a answer, m int64) int { return cmp.Compare(ms(a.Dated), m) })
	n := i
	for n < len(list) && ms(list[n].Dated) == moment {
		n++
	}
	return list[i:n]
}

// period is the newest period that the answer shows with a date; nil where it
// shows none.
func (a answer) period() *applesim.ToldPeriod {
	for i := len(a.subscription.Periods) - 1; i >= 0; i-- {
		if p := &a.subscription.Periods[i]; p.ExpiresDate != 0 && len(p.TransactionID) <= longestID {
			return p
		}
	}
	return nil
}

// longestID is far above Apple's 20 digits.
const longestID = 64

// shows is the period with the id as the answer shows it; nil where it does not.
func (a answer) shows(id string) *applesim.ToldPeriod {
	for i := range a.subscription.Periods {
		if a.subscription.Periods[i].TransactionID == id {
			return &a.subscription.Periods[i]
		}
	}
	return nil
}

// isBefore is the order in which periods of a subscription were bought.
func isBefore(date int64, id string, otherDate int64, otherID string) bool {
	return cmp.Or(cmp.Compare(date, otherDate), cmp.Compare(len(id), len(otherID)), cmp.Compare(id, otherID)) < 0
}

// showsLess reports whether an answer shows neither the stored period nor a later
// one: it proves nothing.
func (a answer) showsLess(stored *row) bool {
	if stored == nil {
		return a.period() == nil
	}
	p := a.period()
	return p == nil || isBefore(p.PurchaseDate, p.TransactionID, stored.PurchaseDate, stored.TransactionID)
}

// isPartlyUndated reports whether a period is shown without a date.
func (a answer) isPartlyUndated() bool {
	return slices.ContainsFunc(a.subscription.Periods, func(p applesim.ToldPeriod) bool { return p.ExpiresDate == 0 })
}

// originallyBought is the earliest of the original purchases that are told; 0
// where none is.
func (a answer) originallyBought() int64 {
	var first int64
	for _, p := range a.subscription.Periods {
		first = earlier(first, p.OriginalPurchaseDate)
	}
	return first
}

// earlier is the earlier of two moments, either of which may be none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
