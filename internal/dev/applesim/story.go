package applesim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Style is the format of a receipt.
type Style string

// The formats of receipts.
const (
	// StyleApp is the PKCS#7 receipt of iOS 7 and later.
	StyleApp Style = "app"
	// StyleTransaction is the property list of iOS 6, one purchase each.
	StyleTransaction Style = "transaction"
)

// Offer is how a subscription starts.
type Offer string

// The offers; the empty Offer is the full price at once.
const (
	OfferTrial Offer = "trial"
	OfferIntro Offer = "intro"
	// OfferCode is the first period at the price of an offer code.
	OfferCode Offer = "code"
)

// offerName is a name that developers give to an offer in App Store Connect,
// where they write their own language.
const offerName = "夏のキャンペーン🌻"

// Story is a hand-made customer. Each act plays in one period, at half of it,
// and after the last act the subscription renews for ever.
type Story struct {
	// BundleID is one of Config.Apps.
	BundleID string
	// Environment is Production if empty.
	Environment string
	// Style is StyleApp if empty.
	Style Style
	// Bought is when the customer subscribed or bought; zero for a customer
	// who never did.
	Bought time.Time
	// Period is the product bought: empty for the one-time purchase.
	Period Period
	Offer  Offer
	// Family is whether the subscription is shared by the family.
	Family bool
	Acts   []Act
	// Resubscribe is how long after an ending the customer comes back; 0 is
	// never. After a refund it counts from the refund.
	Resubscribe time.Duration
	// RefundedAt is when a one-time purchase was refunded; zero for never.
	RefundedAt time.Time
	// PadRecords is the number of unfinished consumables besides.
	PadRecords int
	// ReceiptCreated is when the receipt was made; zero means a minute after
	// Bought. MoreReceipts is when further ones were, and OldStyle whether there is
	// one in the style of iOS 6, of the first period, besides.
	ReceiptCreated time.Time
	MoreReceipts   []time.Time
	OldStyle       bool
}

func (s Story) validate(bundles map[string]bool) error {
	var errs []error
	if !bundles[s.BundleID] {
		errs = append(errs, fmt.Errorf("bundle id %q: want one of the apps", s.BundleID))
	}
	if s.PadRecords < 0 || s.PadRecords > maxPadRecords {
		errs = append(errs, fmt.Errorf("pad records %d: want 0 to %d", s.PadRecords, maxPadRecords))
	}
	if s.Style == StyleTransaction && (s.Bought.IsZero() || s.PadRecords > 0) {
		errs = append(errs, errors.New("a transaction receipt holds exactly one purchase"))
	}
	if s.OldStyle && (s.Style == StyleTransaction || s.Period == "" || s.Family) {
		errs = append(errs, errors.New("a receipt of the old style besides is of the customer's own subscription"))
	}
	if s.Bought.IsZero() && s.ReceiptCreated.IsZero() {
		errs = append(errs, errors.New("want a time of purchase or of the receipt"))
	}
	if !slices.Contains([]Period{"", Weekly, Monthly, Yearly}, s.Period) {
		errs = append(errs, fmt.Errorf("period %q: want %s, %s or %s", s.Period, Weekly, Monthly, Yearly))
	}
	if !slices.Contains([]string{"", Production, Sandbox}, s.Environment) {
		errs = append(errs, fmt.Errorf("environment %q: want %s or %s", s.Environment, Production, Sandbox))
	}
	for _, act := range s.Acts {
		errs = append(errs, act.Validate())
	}
	return errors.Join(errs...)
}
