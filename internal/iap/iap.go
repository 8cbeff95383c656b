// Package iap is the ground of the program: Apple's transactions, renewal
// information and subscriptions in Apple's own words, and the pure rules over
// them (Derive a subscription from facts, Plan the next check, Changes between
// two states). It leaves wire formats to internal/appstore and storage to
// repository, and imports only the standard library.
package iap

import "fmt"

// Environment is the App Store environment that a receipt belongs to, in
// Apple's spelling. The zero value means that it has not been learned yet.
// https://developer.apple.com/documentation/appstorereceipts/environment
type Environment string

// The environments of the App Store.
const (
	Production Environment = "Production"
	Sandbox    Environment = "Sandbox"
)

// Validate reports a value that is neither Production nor Sandbox.
func (e Environment) Validate() error {
	switch e {
	case Production, Sandbox:
		return nil
	}
	return fmt.Errorf("environment %q: want %s or %s", string(e), Production, Sandbox)
}

// Other is the environment that Apple points to with status 21007 (Sandbox) or
// 21008 (Production). The other side of an unknown environment is Production,
// because Apple asks for production first.
func (e Environment) Other() Environment {
	if e == Production {
		return Sandbox
	}
	return Production
}

// Status is one of Apple's five subscription statuses. It is another thing
// than a receipt's status code (appstore.Code).
// https://developer.apple.com/documentation/appstoreserverapi/status
type Status string

// The subscription statuses, in the order of Apple's numbers 1 to 5.
const (
	StatusActive       Status = "active"
	StatusExpired      Status = "expired"
	StatusBillingRetry Status = "billing_retry"
	StatusGracePeriod  Status = "billing_grace_period"
	StatusRevoked      Status = "revoked"
)

// Statuses lists every Status in Apple's order.
func Statuses() []Status {
	return []Status{StatusActive, StatusExpired, StatusBillingRetry, StatusGracePeriod, StatusRevoked}
}

// Validate reports a value that is not one of Apple's five.
func (s Status) Validate() error {
	for _, known := range Statuses() {
		if s == known {
			return nil
		}
	}
	return fmt.Errorf("subscription status %q: want one of %v", string(s), Statuses())
}

// Entitled reports whether the customer has access to what was paid for: in an
// active period, or in the billing grace period, in which Apple asks to keep
// the service up.
// https://developer.apple.com/documentation/storekit/in-app_purchase/reducing_involuntary_subscriber_churn
func (s Status) Entitled() bool {
	return s == StatusActive || s == StatusGracePeriod
}
