package applesim

import "time"

// millis is a moment in UNIX milliseconds or a span in milliseconds: what
// Apple sends, and cheap to compare. Zero is no moment.
type millis int64

const (
	minute millis = 60_000
	hour          = 60 * minute
	day           = 24 * hour
)

func at(t time.Time) millis { return millis(t.UnixMilli()) }

func (m millis) time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// passed reports whether the moment exists and is not after now.
func (m millis) passed(now millis) bool { return m != 0 && m <= now }

// part is the fraction of the span, in whole seconds as Apple's dates are.
func (m millis) part(fraction float64) millis {
	return millis(float64(m)*fraction) / 1000 * 1000
}

// transaction is one purchase and all that will ever happen to it. What of it
// shows at a given moment is said by its methods.
type transaction struct {
	id, originalID     int64
	webOrderLineItemID int64 // 0 for a one-time purchase

	product          *product
	bought           millis
	originallyBought millis
	expires          millis // 0 for a one-time purchase
	visible          millis // from when the App Store shows it; a renewal before it starts

	trial, intro bool
	offerCode    string // offer_code_ref_name
	family       bool

	extended  millis // when the renewal date was moved
	extension millis // and by how much
	upgraded  millis // when it was superseded by an upgrade
	cancelled millis // when it was refunded or withdrawn from the family
	restored  millis // when the refund was reversed
	reason    string // cancellation_reason
}

// cancellation is the cancellation date as it shows at now: none before the
// refund, none after its reversal.
func (t *transaction) cancellation(now millis) millis {
	if !t.cancelled.passed(now) || t.restored.passed(now) {
		return 0
	}
	return t.cancelled
}

// expiry is the end of the period as it shows at now.
func (t *transaction) expiry(now millis) millis {
	if t.extended.passed(now) {
		return t.expires + t.extension
	}
	return t.expires
}

// refundedAhead reports whether a period was refunded that has not begun at now.
func (t *transaction) refundedAhead(now millis) bool {
	return t.cancelled.passed(now) && !t.restored.passed(now) && now < t.bought
}

func (t *transaction) isUpgraded(now millis) bool { return t.upgraded.passed(now) }

// Status is the state of a subscription, by Apple's five names in snake case.
type Status string

// The subscription statuses.
const (
	StatusActive       Status = "active"
	StatusExpired      Status = "expired"
	StatusBillingRetry Status = "billing_retry"
	StatusGracePeriod  Status = "billing_grace_period"
	StatusRevoked      Status = "revoked"
)

// phase is a stretch of a subscription's life in which its status and its
// renewal information stay the same. It lasts until the next phase.
type phase struct {
	from         millis
	status       Status
	autoRenew    bool
	renewsTo     *product
	intent       string // expiration_intent: "" until expired
	retry        bool   // is_in_billing_retry_period
	graceEnds    millis
	priceConsent string // price_consent_status: "" when no increase is pending
}

// chain is one subscription: all periods with one original_transaction_id, in
// the order in which they were bought, and the phases of its life.
type chain struct {
	originalID   int64
	family       bool
	quietIntent  bool // expiration_intent is left out while billing is retried
	transactions []transaction
	phases       []phase
}

// current is the newest period that shows at now and was not refunded ahead; nil
// before the first.
func (c *chain) current(now millis) *transaction {
	for i := len(c.transactions) - 1; i >= 0; i-- {
		if t := &c.transactions[i]; t.visible <= now && !t.refundedAhead(now) {
			return t
		}
	}
	return nil
}

// phase is the phase of the moment; nil before the first purchase.
func (c *chain) phase(now millis) *phase {
	for i := len(c.phases) - 1; i >= 0; i-- {
		if c.phases[i].from <= now {
			return &c.phases[i]
		}
	}
	return nil
}
