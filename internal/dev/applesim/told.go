package applesim

import (
	"iter"
	"time"
)

// Told is what a right answer told: some of what was true at some moment, as of
// the time that it gave. It is reckoned from the rules and from the lives of the
// customers, and not read from the reply.
type Told struct {
	Entry
	// True is when what was told was so. Dated is in milliseconds, or in whole
	// seconds where only the header gives it.
	True  time.Time
	Style Style
	// Broken is whether a record is such that the answer may be of no use.
	Broken        bool
	Subscriptions []ToldSubscription
	Purchases     []ToldPurchase
}

// ToldPurchase is a one-time purchase as it was shown; see ToldPeriod.
type ToldPurchase struct {
	Purchase
	IsCurrent bool
}

// ToldSubscription is what was told of a subscription of the customer's, which
// may be nothing.
type ToldSubscription struct {
	OriginalTransactionID string
	// Periods are those that were shown, in the order in which they were bought.
	Periods []ToldPeriod
	// Renewal is nil where nothing was told of it.
	Renewal *Renewal
}

// ToldPeriod is a period as it was shown.
type ToldPeriod struct {
	TransactionID        string
	ProductID            string
	PurchaseDate         int64
	OriginalPurchaseDate int64
	ExpiresDate          int64 // 0 where it was shown without one
	IsTrialPeriod        bool
	IsInIntroOfferPeriod bool
	OfferCodeRefName     string
	InAppOwnershipType   string
	CancellationDate     int64
	IsUpgraded           bool
	// IsCurrent is whether it was shown as it is now; else it is shown as it was
	// when the receipt was made.
	IsCurrent bool
}

// Told lists what the remembered requests after the one with the sequence number
// were told, where they had a right answer. What the way back ruined is told too.
func (s *Server) Told(after int64) iter.Seq[Told] {
	return func(yield func(Told) bool) {
		for _, e := range s.log.after(after) {
			if e.asked != nil && !yield(s.told(e)) {
				return
			}
		}
	}
}

func (s *Server) told(e logged) Told {
	q := *e.asked
	latest := max(q.now, q.receipt.created, at(e.SimulatedTime))
	q.customer = s.population.customer(q.receipt.customer, latest)
	told := Told{
		Entry: e.Entry, True: q.now.time(), Style: q.receipt.style,
	}
	told.Dated = told.Dated.Truncate(time.Millisecond)
	if told.Style == StyleTransaction {
		told.Dated = told.Dated.Truncate(time.Second)
	}
	current := q.shownAsNow()
	for i, c := range q.chains {
		if i > 0 && q.receipt.style == StyleTransaction {
			break // one purchase, one subscription
		}
		if c.visible(latest) > 0 {
			told.Subscriptions = append(told.Subscriptions, q.toldSubscription(c, current))
		}
		for j := range c.transactions {
			t := &c.transactions[j]
			shown := current[t.id] || q.isInReceipt(c, j)
			told.Broken = told.Broken || shown && q.spoil.hits(FaultLongIDs, t)
		}
	}
	told.Purchases = q.toldPurchases()
	return told
}

// toldPurchases are the one-time purchases that the reply shows.
func (q question) toldPurchases() []ToldPurchase {
	if q.receipt.style == StyleTransaction && len(q.chains) > 0 {
		return nil // the one purchase of its receipt is a subscription's
	}
	var told []ToldPurchase
	for i := range q.purchases {
		t, now, current := &q.purchases[i], q.now, true
		if t.visible > q.now {
			now, current = q.receipt.created, false
		}
		if t.visible > now || q.view.bare && q.receipt.style == StyleApp {
			continue
		}
		told = append(told, ToldPurchase{Purchase{
			TransactionID: digits(t.id), ProductID: t.product.id, PurchaseDate: int64(t.bought),
			CancellationDate: int64(t.cancellation(now)),
		}, current})
	}
	return told
}

func (q question) toldSubscription(c *chain, current map[int64]bool) ToldSubscription {
	told := ToldSubscription{OriginalTransactionID: digits(c.originalID)}
	for i := range c.transactions {
		switch t := &c.transactions[i]; {
		case current[t.id]:
			told.Periods = append(told.Periods, q.toldPeriod(t, q.now, true))
		case q.isInReceipt(c, i):
			told.Periods = append(told.Periods, q.toldPeriod(t, q.receipt.created, false))
		}
	}
	if p := c.phase(q.now); p != nil && !c.family && !q.view.hidesRenewal() {
		told.Renewal = p.renewal()
		if q.receipt.style == StyleTransaction {
			told.Renewal.GracePeriodExpiresDate, told.Renewal.PriceConsentStatus = 0, ""
		}
	}
	return told
}

// isInReceipt reports whether in_app shows the period with the number.
func (q question) isInReceipt(c *chain, i int) bool {
	return q.receipt.style == StyleApp && c.transactions[i].visible <= q.receipt.created &&
		!q.view.bare && (q.view.oldest == 0 || i < q.view.shown(c.visible(q.now)))
}

// shownAsNow are the periods that the reply shows as they are now, by id.
func (q question) shownAsNow() map[int64]bool {
	shown := make(map[int64]bool)
	if q.receipt.style == StyleApp {
		for _, t := range q.latestInfo() {
			shown[t.id] = true
		}
		return shown
	}
	shown[q.transactionWith(q.receipt.id).id] = true
	for _, c := range q.chains[:min(1, len(q.chains))] {
		if newest := q.newest(c); newest != nil {
			shown[newest.id] = true
		}
	}
	return shown
}

func (q question) toldPeriod(t *transaction, now millis, current bool) ToldPeriod {
	p := ToldPeriod{
		TransactionID: q.spoil.id(t), ProductID: t.product.id, PurchaseDate: int64(t.bought),
		OriginalPurchaseDate: int64(q.spoil.originallyBought(t)), ExpiresDate: int64(t.expiry(now)),
		IsTrialPeriod: t.trial, IsInIntroOfferPeriod: t.intro,
		CancellationDate: int64(t.cancellation(now)), IsCurrent: current,
	}
	if q.receipt.style == StyleApp {
		p.InAppOwnershipType = t.ownership()
		if current {
			p.OfferCodeRefName, p.IsUpgraded = t.offerCode, t.isUpgraded(now)
		}
	}
	if q.receipt.style == StyleTransaction && t.isUpgraded(now) {
		p.CancellationDate = 0
	}
	if q.spoil.form(t) != "" {
		p.ExpiresDate = 0
	}
	return p
}
