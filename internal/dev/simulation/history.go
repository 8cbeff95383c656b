package simulation

import (
	"revalidator/internal/iap"
)

// Kind is a kind of change.
type Kind int

// The kinds of changes, in the order in which they are shown.
const (
	Renewal Kind = iota
	Lapse
	GracePeriod
	BillingRetry
	Recovery
	Refund
	// LongRefund is a Refund of a period longer than a month.
	LongRefund
	RefundReversed
	Resubscribe
	// LateReturn is a Resubscribe more than a year after the end.
	LateReturn
	PlanChange
	RenewalOff
	RenewalOn
	PriceIncrease
	kinds
)

var kindNames = [kinds]string{
	"renewal", "lapse", "grace period", "billing retry", "recovery", "refund", "refund of a year", "refund reversed",
	"resubscribe", "return after 1 y", "plan change", "renewal off", "renewal on", "price increase",
}

func (k Kind) String() string { return kindNames[k] }

// change is one change of a subscription, and when a look shows it.
type change struct {
	kind Kind
	// at is when it happened: of a renewal and a lapse, when the old period
	// expired.
	at moment
	// visible until (not including) until: when something came that hides it.
	visible, until moment
}

// period is one period of a subscription.
type period struct {
	product         *product
	bought, expires moment
	visible         moment
	trial           bool
}

// phase is a stretch of a life in which Apple's answer stays the same.
type phase struct {
	from   moment
	period int // the newest that shows
	status iap.Status

	renews    bool
	intent    iap.ExpirationIntent
	retry     bool
	graceEnds moment
	consent   string
	revokedAt moment // where status is revoked
}

// history is the life of one subscription.
type history struct {
	born    moment
	periods []period
	phases  []phase
	changes []change // by visible
}

const never = moment(1<<63 - 1)

// phaseAt is the index of the phase at a moment, found from an earlier one.
func (h *history) phaseAt(at moment, from int) int {
	for from+1 < len(h.phases) && h.phases[from+1].from <= at {
		from++
	}
	return from
}

// conclusion is what Derive makes of Apple's answer in a phase.
func (h *history) conclusion(i int, at moment) iap.Conclusion {
	return iap.Derive(h.facts(i, at))
}

// facts is Apple's answer to a request that leaves old transactions out.
func (h *history) facts(i int, at moment) *iap.Facts {
	ph := h.phases[i]
	p := h.periods[ph.period]
	f := &iap.Facts{AsOf: origin.Add(at), Environment: iap.Production, BundleID: "com.example.reader"}
	t := iap.Transaction{
		TransactionID: "2", OriginalTransactionID: "1", ProductID: p.product.name, SubscriptionGroupIdentifier: "20",
		PurchaseDate: origin.Add(p.bought), ExpiresDate: origin.Add(p.expires), IsTrialPeriod: p.trial,
	}
	if ph.status == iap.StatusRevoked {
		t.CancellationDate, t.CancellationReason = origin.Add(ph.revokedAt), "0"
	}
	f.AddTransaction(t, iap.ListLatest)
	r := iap.RenewalInfo{
		OriginalTransactionID: "1", ProductID: p.product.name, AutoRenewProductID: p.product.name,
		AutoRenewStatus: &ph.renews, IsInBillingRetryPeriod: &ph.retry, ExpirationIntent: ph.intent, PriceConsentStatus: ph.consent,
	}
	if ph.graceEnds != 0 {
		r.GracePeriodExpiresDate = origin.Add(ph.graceEnds)
	}
	f.AddRenewalInfo(r)
	return f
}

// enter begins a phase, and ends the visibility of changes that it hides.
func (h *history) enter(next phase) {
	if n := len(h.phases); n > 0 {
		last := h.phases[n-1]
		for i := len(h.changes) - 1; i >= 0 && i >= len(h.changes)-12; i-- {
			c := &h.changes[i]
			if c.until == never && h.hides(c.kind, last, next) {
				c.until = next.from
			}
		}
		if next.from == last.from {
			h.phases = h.phases[:n-1]
		}
	}
	h.phases = append(h.phases, next)
}

// hides reports whether the step from one phase to the next hides a change
// that happened before.
func (h *history) hides(k Kind, last, next phase) bool {
	newPeriod := last.period != next.period
	switch k {
	case Lapse, GracePeriod, BillingRetry:
		return newPeriod || last.status != next.status
	case Refund, LongRefund, RefundReversed:
		return newPeriod || last.status != next.status && (last.status == iap.StatusRevoked || next.status == iap.StatusRevoked)
	case PlanChange:
		return newPeriod && h.periods[last.period].product != h.periods[next.period].product
	case RenewalOff, RenewalOn:
		return newPeriod || last.renews != next.renews
	case PriceIncrease:
		return newPeriod || last.consent != next.consent
	case Resubscribe, LateReturn:
		// Any later period tells that the customer came back, but for one
		// that begins after another end.
		return newPeriod && !last.renews && (last.status == iap.StatusExpired || last.status == iap.StatusRevoked)
	}
	return newPeriod
}

// happen notes a change that the phase just entered shows.
func (h *history) happen(k Kind, at moment) {
	h.changes = append(h.changes, change{kind: k, at: at, visible: h.phases[len(h.phases)-1].from, until: never})
}
