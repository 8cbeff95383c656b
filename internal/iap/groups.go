package iap

import "time"

// Groups is a set of groups of facts. A source tells some of them about a
// subscription and not others: a transaction by itself shows nothing of renewal,
// and a reply in iOS 6 style nothing of grace. A group that is told replaces what
// is stored of it as a whole, absent fields meaning none; see Merge.
type Groups uint8

// The groups of facts.
const (
	// GroupPeriod is the newest period: its product, transaction and dates.
	GroupPeriod Groups = 1 << iota
	// GroupRenewal is whether and as what the subscription renews, why it
	// expired, and whether Apple retries a failed payment.
	GroupRenewal
	// GroupGrace is what only replies in the style of iOS 7 and later tell of
	// renewal: the end of the grace period, and a price increase.
	GroupGrace
	// GroupOffer is what the period was bought with.
	GroupOffer
	// GroupRevocations is which periods were refunded or withdrawn.
	GroupRevocations
)

// Has reports whether all of the other groups are in the set.
func (g Groups) Has(other Groups) bool { return g&other == other }

// ToldAt is Apple's time of the facts that last told each group; the zero time
// where no facts did. Each group moves forward in its own time, so that newer
// facts which do not show a group never hide older ones which do.
type ToldAt struct {
	PeriodAsOf      time.Time `json:"period_as_of,omitzero"`
	RenewalAsOf     time.Time `json:"renewal_as_of,omitzero"`
	GraceAsOf       time.Time `json:"grace_as_of,omitzero"`
	OfferAsOf       time.Time `json:"offer_as_of,omitzero"`
	RevocationsAsOf time.Time `json:"revocations_as_of,omitzero"`
}

// allGroups lists the groups one by one.
var allGroups = [...]Groups{GroupPeriod, GroupRenewal, GroupGrace, GroupOffer, GroupRevocations}

// toldAt is the time of each group of a set that facts of one time tell.
func (g Groups) toldAt(asOf time.Time) (t ToldAt) {
	for _, group := range allGroups {
		if g.Has(group) {
			*t.of(group) = asOf
		}
	}
	return t
}

func (t *ToldAt) of(group Groups) *time.Time {
	switch group {
	case GroupPeriod:
		return &t.PeriodAsOf
	case GroupRenewal:
		return &t.RenewalAsOf
	case GroupGrace:
		return &t.GraceAsOf
	case GroupOffer:
		return &t.OfferAsOf
	}
	return &t.RevocationsAsOf
}

// isNewer reports whether facts show a group, and are newer than those that told
// it last.
func (t *ToldAt) isNewer(group Groups, facts Subscription) bool {
	return facts.Tells.Has(group) && facts.AsOf.After(*t.of(group))
}
