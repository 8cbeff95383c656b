package applesim

import (
	"iter"
	"strconv"
	"time"
)

// Truth is what is the case for one customer, told from their timeline and not
// from any reply. Times are UNIX milliseconds; 0 is none.
type Truth struct {
	BundleID      string         `json:"bundle_id"`
	CustomerRef   string         `json:"customer_ref"`
	Environment   string         `json:"environment"`
	AsOf          int64          `json:"as_of_ms"`
	Subscriptions []Subscription `json:"subscriptions"`
	Purchases     []Purchase     `json:"purchases"`
}

// Subscription is the state of one subscription. Its transaction fields speak
// of the newest period.
type Subscription struct {
	OriginalTransactionID string `json:"original_transaction_id"`
	TransactionID         string `json:"transaction_id"`
	ProductID             string `json:"product_id"`
	GroupID               string `json:"subscription_group_identifier"`
	Status                Status `json:"status"`
	PurchaseDate          int64  `json:"purchase_date_ms"`
	ExpiresDate           int64  `json:"expires_date_ms"`
	IsTrialPeriod         bool   `json:"is_trial_period"`
	IsInIntroOfferPeriod  bool   `json:"is_in_intro_offer_period"`
	OfferCodeRefName      string `json:"offer_code_ref_name,omitempty"`
	InAppOwnershipType    string `json:"in_app_ownership_type"`
	CancellationDate      int64  `json:"cancellation_date_ms,omitempty"`
	CancellationReason    string `json:"cancellation_reason,omitempty"`
	// Renewal is nil for a subscription shared by the family: its member has
	// no say in renewal.
	Renewal *Renewal `json:"renewal,omitempty"`
	// Upgraded are the transaction ids of the periods that an upgrade ended.
	Upgraded []string `json:"is_upgraded,omitempty"`
	// Revoked are the transaction ids of the periods that are refunded or
	// withdrawn from the family, the newest or not.
	Revoked []string `json:"revoked,omitempty"`
	// Reversed are those whose refund was taken back.
	Reversed []string `json:"reversed,omitempty"`
	// OriginalPurchaseDate is that of the first period.
	OriginalPurchaseDate int64 `json:"original_purchase_date_ms"`
}

// Renewal is what is planned for the next period.
type Renewal struct {
	AutoRenewStatus        bool   `json:"auto_renew_status"`
	AutoRenewProductID     string `json:"auto_renew_product_id"`
	ExpirationIntent       string `json:"expiration_intent,omitempty"`
	IsInBillingRetryPeriod bool   `json:"is_in_billing_retry_period"`
	GracePeriodExpiresDate int64  `json:"grace_period_expires_date_ms,omitempty"`
	PriceConsentStatus     string `json:"price_consent_status,omitempty"`
}

// Purchase is one one-time purchase.
type Purchase struct {
	TransactionID    string `json:"transaction_id"`
	ProductID        string `json:"product_id"`
	PurchaseDate     int64  `json:"purchase_date_ms"`
	CancellationDate int64  `json:"cancellation_date_ms,omitempty"`
}

// Truth tells what is the case for every customer at the simulated moment at
// which the iteration starts, in the order of Receipts.
func (s *Server) Truth() iter.Seq[Truth] {
	return func(yield func(Truth) bool) { s.TruthAt(s.clock.Now())(yield) }
}

// TruthAt is Truth for any moment, whatever the clock says.
func (s *Server) TruthAt(moment time.Time) iter.Seq[Truth] {
	return func(yield func(Truth) bool) {
		now := at(moment)
		for i := range s.population.size() {
			if !yield(s.population.customer(i, now).truth(now)) {
				return
			}
		}
	}
}

// TruthOf is the truth about one customer now; false if there is no such
// customer.
func (s *Server) TruthOf(customerRef string) (Truth, bool) {
	index, ok := s.population.find(customerRef)
	if !ok {
		return Truth{}, false
	}
	now := at(s.clock.Now())
	return s.population.customer(index, now).truth(now), true
}

func (c *customer) truth(now millis) Truth {
	truth := Truth{
		BundleID: c.app.BundleID, CustomerRef: c.ref(), Environment: c.environment(), AsOf: int64(now),
		Subscriptions: []Subscription{}, Purchases: []Purchase{},
	}
	for _, chain := range c.chains {
		if chain.current(now) != nil {
			truth.Subscriptions = append(truth.Subscriptions, chain.truth(now))
		}
	}
	for i := range c.purchases {
		if t := &c.purchases[i]; t.visible <= now {
			truth.Purchases = append(truth.Purchases, Purchase{
				TransactionID: digits(t.id), ProductID: t.product.id, PurchaseDate: int64(t.bought),
				CancellationDate: int64(t.cancellation(now)),
			})
		}
	}
	return truth
}

func (c *chain) truth(now millis) Subscription {
	t, phase := c.current(now), c.phase(now)
	s := Subscription{
		OriginalTransactionID: digits(c.originalID), TransactionID: digits(t.id),
		ProductID: t.product.id, GroupID: t.product.group, Status: phase.status,
		PurchaseDate: int64(t.bought), ExpiresDate: int64(t.expiry(now)),
		IsTrialPeriod: t.trial, IsInIntroOfferPeriod: t.intro, OfferCodeRefName: t.offerCode,
		InAppOwnershipType: t.ownership(), CancellationDate: int64(t.cancellation(now)),
		OriginalPurchaseDate: int64(c.transactions[0].originallyBought),
	}
	if s.CancellationDate != 0 {
		s.CancellationReason = t.reason
	}
	for i := range c.transactions {
		switch t := &c.transactions[i]; {
		case t.isUpgraded(now):
			s.Upgraded = append(s.Upgraded, digits(t.id))
		case t.cancellation(now) != 0:
			s.Revoked = append(s.Revoked, digits(t.id))
		case t.restored.passed(now):
			s.Reversed = append(s.Reversed, digits(t.id))
		}
	}
	if !c.family {
		s.Renewal = phase.renewal()
	}
	return s
}

func (p *phase) renewal() *Renewal {
	return &Renewal{
		AutoRenewStatus: p.autoRenew, AutoRenewProductID: p.renewsTo.id,
		ExpirationIntent: p.intent, IsInBillingRetryPeriod: p.retry,
		GracePeriodExpiresDate: int64(p.graceEnds), PriceConsentStatus: p.priceConsent,
	}
}

func (t *transaction) ownership() string {
	if t.family {
		return "FAMILY_SHARED"
	}
	return "PURCHASED"
}

func digits(id int64) string { return strconv.FormatInt(id, 10) }
