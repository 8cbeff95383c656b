package applesim

// life writes the timeline of one subscription, period by period, as far as
// it is asked to see.
type life struct {
	chain   *chain
	fate    fate
	sandbox bool
	grace   bool // the app opted in to the billing grace period
	plain   bool // the receipt is in iOS 6 style
	until   millis

	nextID   int64
	nextLine int64
}

// sandboxRenewals is how often a subscription renews in the sandbox before
// Apple turns auto-renew off.
// https://developer.apple.com/documentation/storekit/testing-an-auto-renewable-subscription
const sandboxRenewals = 12

// period is one period about to be bought.
type period struct {
	product  *product
	bought   millis
	expires  millis
	visible  millis
	offer    Offer
	renewals int // since the customer last subscribed
}

// subscribe begins a run of periods at the moment, at the full price or with
// an offer.
func (l *life) subscribe(p *product, at millis, offer Offer) *period {
	expires := p.period.end(at, l.sandbox)
	if offer == OfferTrial {
		expires = Weekly.end(at, l.sandbox)
	}
	return &period{product: p, bought: at, visible: at, expires: expires, offer: offer}
}

// live plays periods until the subscription ends or the horizon is reached.
func (l *life) live(first *period) {
	for p := first; p != nil && p.visible <= l.until; {
		l.buy(p)
		p = l.play(p, l.nextAct(p))
	}
}

func (l *life) nextAct(p *period) Act {
	act := l.fate.act()
	switch {
	case l.chain.family:
		act = act.shared()
	case l.plain:
		act = act.plain()
	case act == ActFamilyLoss:
		act = ActRenew
	}
	if l.sandbox && p.renewals >= sandboxRenewals {
		return ActTurnOff
	}
	return act
}

func (l *life) buy(p *period) {
	l.nextID++
	l.nextLine++
	t := transaction{
		id: l.nextID, originalID: l.chain.originalID, webOrderLineItemID: l.nextLine,
		product: p.product, bought: p.bought, expires: p.expires, visible: p.visible,
		trial: p.offer == OfferTrial, intro: p.offer == OfferIntro, family: l.chain.family,
		originallyBought: p.bought + 1000,
	}
	if p.offer == OfferCode {
		t.offerCode = offerName
	}
	if len(l.chain.transactions) > 0 {
		t.originallyBought = l.chain.transactions[0].originallyBought
	}
	l.chain.transactions = append(l.chain.transactions, t)
	l.enter(phase{from: p.visible, status: StatusActive, autoRenew: true, renewsTo: p.product})
}

func (l *life) enter(p phase) { l.chain.phases = append(l.chain.phases, p) }

// play lets the act happen in the period just bought and returns the period
// that follows; nil when none does.
func (l *life) play(p *period, act Act) *period {
	t := &l.chain.transactions[len(l.chain.transactions)-1]
	switch act {
	case ActTurnOff:
		return l.turnOff(p)
	case ActRecoverInGrace, ActRecoverLate, ActBillingLapse:
		return l.failBilling(p, act)
	case ActRefund, ActFamilyLoss:
		return l.refund(p, t)
	case ActRefundReversed:
		return l.reverse(p, t)
	case ActRefundPrevious:
		return l.refundPrevious(p)
	case ActRefundAhead:
		return l.refundAhead(p)
	case ActUpgrade:
		return l.upgrade(p, t)
	case ActDowngrade:
		return l.downgrade(p)
	case ActExtend:
		return l.extend(p, t)
	case ActPriceAccepted, ActPriceRefused:
		return l.raisePrice(p, act)
	case ActWithdrawn:
		return l.end(p, p.expires, "4")
	default:
		return l.renew(p, p.product)
	}
}

// within is a moment between the start of the period and the earliest moment
// at which its renewal can show.
func (l *life) within(p *period) millis {
	return p.bought + (p.expires - p.bought).part(0.9*l.fate.fraction())
}

func (l *life) renew(p *period, product *product) *period {
	lead := min(l.fate.lead(), (p.expires - p.bought).part(0.05))
	return &period{
		product: product, bought: p.expires, visible: p.expires - lead,
		expires: product.period.end(p.expires, l.sandbox), renewals: p.renewals + 1,
	}
}

// end expires the subscription at the moment, for the reason, and perhaps lets
// the customer come back.
func (l *life) end(p *period, at millis, intent string) *period {
	l.enter(phase{from: at, status: StatusExpired, renewsTo: p.product, intent: intent})
	return l.comeBack(p, at)
}

func (l *life) comeBack(p *period, after millis) *period {
	gap, returns := l.fate.comesBack()
	if !returns || l.chain.family {
		return nil
	}
	return l.subscribe(p.product, after+gap, "")
}

func (l *life) turnOff(p *period) *period {
	l.enter(phase{from: l.within(p), status: StatusActive, renewsTo: p.product})
	return l.end(p, p.expires, "1")
}
