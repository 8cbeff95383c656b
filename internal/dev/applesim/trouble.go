package applesim

// The acts in which something other than a plain renewal or an ending happens.

// billingRetry is how long Apple tries to collect a failed payment. In the
// sandbox it is two periods, grace one: what Xcode documents for its own
// fixed rates, for lack of a documented figure.
// https://developer.apple.com/documentation/storekit/in-app_purchase/reducing_involuntary_subscriber_churn
const billingRetry = 60 * day

func (l *life) graceSpan(p *period) millis {
	switch {
	case !l.grace || l.plain:
		return 0
	case l.sandbox:
		return p.product.period.end(0, true)
	case p.product.period == Weekly:
		return 6 * day
	default:
		return 16 * day
	}
}

func (l *life) retrySpan(p *period) millis {
	if l.sandbox {
		return 2 * p.product.period.end(0, true)
	}
	return billingRetry
}

// failBilling fails to collect the payment at expiry: the grace period if the
// app has one, then billing retry, then recovery or the end.
func (l *life) failBilling(p *period, act Act) *period {
	grace, retryEnds := l.graceSpan(p), p.expires+l.retrySpan(p)
	failing := phase{from: p.expires, status: StatusBillingRetry, autoRenew: true, renewsTo: p.product, retry: true}
	if !l.chain.quietIntent {
		failing.intent = "2"
	}
	if grace > 0 {
		inGrace := failing
		inGrace.status, inGrace.graceEnds = StatusGracePeriod, p.expires+grace
		l.enter(inGrace)
		if act == ActRecoverInGrace {
			return l.recoverInGrace(p, p.expires+grace.part(l.fate.fraction()))
		}
		failing.from += grace
	}
	l.enter(failing)
	if act == ActBillingLapse {
		return l.end(p, retryEnds, "2")
	}
	return l.recoverLate(p, failing.from+(retryEnds-failing.from).part(l.fate.fraction()))
}

// recoverInGrace keeps the billing date: the period ends when it would have.
func (l *life) recoverInGrace(p *period, at millis) *period {
	return &period{
		product: p.product, bought: at, visible: at,
		expires: p.product.period.end(p.expires, l.sandbox), renewals: p.renewals + 1,
	}
}

// recoverLate moves the billing date to the moment of recovery.
func (l *life) recoverLate(p *period, at millis) *period {
	return &period{
		product: p.product, bought: at, visible: at,
		expires: p.product.period.end(at, l.sandbox), renewals: p.renewals + 1,
	}
}

func (l *life) refund(p *period, t *transaction) *period {
	l.revoke(p, t)
	return l.comeBack(p, t.cancelled)
}

func (l *life) revoke(p *period, t *transaction) {
	t.cancelled = l.within(p)
	t.reason = string('0' + byte(t.id%2))
	l.enter(phase{from: t.cancelled, status: StatusRevoked, renewsTo: p.product})
}

// reverse takes a refund back after three days. Auto-renew stays off, so the
// period, if it is not over yet, is the last.
func (l *life) reverse(p *period, t *transaction) *period {
	l.revoke(p, t)
	t.restored = t.cancelled + 3*day
	if t.restored >= p.expires {
		return l.end(p, t.restored, "1")
	}
	l.enter(phase{from: t.restored, status: StatusActive, renewsTo: p.product})
	return l.end(p, p.expires, "1")
}

// refundPrevious refunds the period before the current one, if there is one
// that was not refunded or superseded already.
func (l *life) refundPrevious(p *period) *period {
	if n := len(l.chain.transactions); n > 1 {
		previous := &l.chain.transactions[n-2]
		if previous.cancelled == 0 && previous.upgraded == 0 {
			previous.cancelled, previous.reason = l.within(p), "0"
		}
	}
	return l.renew(p, p.product)
}

// refundAhead refunds the next period before it begins. Auto-renew is off then;
// once the running period is over, what was bought last is a refunded one.
func (l *life) refundAhead(p *period) *period {
	next := l.renew(p, p.product)
	lead := min(12*hour, (p.expires - p.bought).part(0.1))
	next.visible = p.expires - lead
	l.buy(next)
	t := &l.chain.transactions[len(l.chain.transactions)-1]
	t.cancelled, t.reason = p.expires-lead.part(0.5), "0"
	l.enter(phase{from: t.cancelled, status: StatusActive, renewsTo: p.product})
	l.enter(phase{from: p.expires, status: StatusRevoked, renewsTo: p.product})
	return l.comeBack(p, p.expires)
}

// upgrade ends the period at once. Apple marks the old record as upgraded and
// dates it as cancelled too.
// https://developer.apple.com/documentation/appstorereceipts/is_upgraded
func (l *life) upgrade(p *period, t *transaction) *period {
	if p.product.up == nil {
		return l.renew(p, p.product)
	}
	now := l.within(p)
	t.upgraded, t.cancelled, t.reason = now, now, "0"
	next := l.subscribe(p.product.up, now, "")
	next.renewals = p.renewals + 1
	return next
}

func (l *life) downgrade(p *period) *period {
	lower := p.product.down
	if lower == nil {
		return l.renew(p, p.product)
	}
	l.enter(phase{from: l.within(p), status: StatusActive, autoRenew: true, renewsTo: lower})
	return l.renew(p, lower)
}

// extend moves the renewal date by a third of the period, which stays the same.
func (l *life) extend(p *period, t *transaction) *period {
	t.extended, t.extension = l.within(p), (p.expires - p.bought).part(1.0/3)
	p.expires += t.extension
	return l.renew(p, p.product)
}

func (l *life) raisePrice(p *period, act Act) *period {
	asked := phase{from: l.within(p), status: StatusActive, autoRenew: true, renewsTo: p.product, priceConsent: "0"}
	l.enter(asked)
	if act == ActPriceRefused {
		return l.end(p, p.expires, "3")
	}
	asked.from += (p.bought + (p.expires - p.bought).part(0.95) - asked.from) / 2
	asked.priceConsent = "1"
	l.enter(asked)
	return l.renew(p, p.product)
}
