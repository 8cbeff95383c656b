package applesim

import (
	"errors"
	"fmt"
)

// Mix says how random customers live. Shares are fractions of the customers,
// from 0 to 1. The zero value is customers who all bought a subscription once
// and renew it for ever.
type Mix struct {
	// Sandbox is the share of receipts of the sandbox.
	Sandbox float64
	// TransactionStyle is the share of receipts in the style of iOS 6.
	TransactionStyle float64
	// NoPurchases is the share of customers who never bought anything.
	NoPurchases float64
	// OneTimeOnly is the share with a one-time purchase and no subscription;
	// OneTime the share of the others that has one as well; RefundedOneTime
	// the share of such purchases that is refunded.
	OneTimeOnly, OneTime, RefundedOneTime float64
	// TwoGroups is the share with subscriptions of two groups.
	TwoGroups float64
	// Family is the share whose subscription is shared by the family.
	Family float64
	// Large is the share with Config.PadRecords unfinished consumables.
	Large float64
	// Several is the share of customers with Config.Receipts receipts in place of
	// one, and OldStyle the share of those whose own subscription has a receipt in
	// the style of iOS 6 besides.
	Several, OldStyle float64
	// Crowded is the share, of those with a subscription, that has Config.Crowd
	// more of them.
	Crowded float64

	// Trial and Intro are the shares of subscriptions that start with a free
	// trial and with a paid introductory offer.
	Trial, Intro float64
	// OfferCode is the share of the subscriptions without either, but for those
	// in the style of iOS 6, that start with a code of an offer named in Japanese.
	OfferCode float64
	// Resubscribe is the share of endings after which the customer comes back.
	Resubscribe float64
	// Acts are what happens in one period; with none, every period renews.
	Acts []Weight
}

// Weight is how often an act happens, relative to the other weights.
type Weight struct {
	Act    Act
	Weight float64
}

// DefaultMix is a population in which everything happens: most renew, some
// leave, a few have each kind of trouble.
func DefaultMix() Mix {
	return Mix{
		Sandbox: 0.03, TransactionStyle: 0.02,
		NoPurchases: 0.03, OneTimeOnly: 0.05, OneTime: 0.1, RefundedOneTime: 0.1,
		TwoGroups: 0.08, Family: 0.04,
		Trial: 0.4, Intro: 0.15, Resubscribe: 0.45,
		Acts: []Weight{
			{ActRenew, 80}, {ActTurnOff, 5},
			{ActRecoverInGrace, 2}, {ActRecoverLate, 2}, {ActBillingLapse, 2},
			{ActRefund, 1}, {ActRefundReversed, 0.5}, {ActRefundPrevious, 0.5},
			{ActUpgrade, 2}, {ActDowngrade, 2},
			{ActPriceAccepted, 1}, {ActPriceRefused, 0.5}, {ActWithdrawn, 0.2}, {ActFamilyLoss, 2},
		},
	}
}

func (m Mix) validate() error {
	var errs []error
	for name, share := range map[string]float64{
		"sandbox": m.Sandbox, "transaction style": m.TransactionStyle, "no purchases": m.NoPurchases,
		"one-time only": m.OneTimeOnly, "one-time": m.OneTime, "refunded one-time": m.RefundedOneTime,
		"two groups": m.TwoGroups, "family": m.Family, "large": m.Large, "crowded": m.Crowded, "offer code": m.OfferCode,
		"several": m.Several, "old style": m.OldStyle,
		"trial": m.Trial, "intro": m.Intro, "resubscribe": m.Resubscribe,
	} {
		if share < 0 || share > 1 {
			errs = append(errs, fmt.Errorf("mix: share %s %v: want 0 to 1", name, share))
		}
	}
	for _, w := range m.Acts {
		if w.Weight < 0 {
			errs = append(errs, fmt.Errorf("mix: weight of %s %v: want 0 or more", w.Act, w.Weight))
		}
		errs = append(errs, w.Act.Validate())
	}
	return errors.Join(errs...)
}

// draw is the act that the fraction from 0 to 1 falls on.
func (m Mix) draw(fraction float64) Act {
	var total float64
	for _, w := range m.Acts {
		total += w.Weight
	}
	left := fraction * total
	for _, w := range m.Acts {
		if left -= w.Weight; left < 0 {
			return w.Act
		}
	}
	return ActRenew
}
