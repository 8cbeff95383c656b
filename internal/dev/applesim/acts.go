package applesim

import (
	"fmt"
	"slices"
)

// Act is what happens in one period of a subscription, or at its end.
type Act string

// The acts. Where one is impossible (there is no product to upgrade to, no
// grace period in the app), the nearest possible one happens.
const (
	ActRenew Act = "renew"
	// ActTurnOff turns auto-renew off; the period is the last one.
	ActTurnOff Act = "turn_off"
	// ActRecoverInGrace fails to bill at expiry and recovers within the grace
	// period, so that the billing date stays. Without a grace period it
	// recovers after some days and the billing date moves.
	ActRecoverInGrace Act = "recover_in_grace"
	// ActRecoverLate recovers after the grace period, within the 60 days of
	// billing retry: the billing date moves to the day of recovery.
	ActRecoverLate Act = "recover_late"
	// ActBillingLapse never recovers and expires after the billing retry.
	ActBillingLapse Act = "billing_lapse"
	// ActRefund refunds the current period and ends the subscription.
	ActRefund Act = "refund"
	// ActRefundReversed is ActRefund, taken back three days later.
	ActRefundReversed Act = "refund_reversed"
	// ActRefundPrevious refunds the period before; the subscription goes on.
	ActRefundPrevious Act = "refund_previous"
	// ActRefundAhead buys the renewal up to 24 hours before the period ends, and
	// refunds it before its own begins: what is paid for lasts to its end.
	ActRefundAhead Act = "refund_ahead"
	// ActUpgrade moves at once to the next higher product of the group.
	ActUpgrade Act = "upgrade"
	// ActDowngrade schedules the next lower product for the next period.
	ActDowngrade Act = "downgrade"
	// ActPriceAccepted and ActPriceRefused have a price increase pending; the
	// customer consents and renews, or does not and expires.
	ActPriceAccepted Act = "price_accepted"
	ActPriceRefused  Act = "price_refused"
	// ActExtend moves the renewal date of the current period, as a developer may.
	ActExtend Act = "extend"
	// ActWithdrawn takes the product off sale: it expires with intent 4.
	ActWithdrawn Act = "withdrawn"
	// ActFamilyLoss ends a subscription that was shared by the family.
	ActFamilyLoss Act = "family_loss"
)

// Acts lists every Act.
func Acts() []Act {
	return []Act{
		ActRenew, ActTurnOff, ActRecoverInGrace, ActRecoverLate, ActBillingLapse, ActRefund, ActRefundReversed,
		ActRefundPrevious, ActRefundAhead, ActUpgrade, ActDowngrade, ActPriceAccepted, ActPriceRefused, ActExtend, ActWithdrawn,
		ActFamilyLoss,
	}
}

// Validate reports a value that is not in Acts.
func (a Act) Validate() error {
	if !slices.Contains(Acts(), a) {
		return fmt.Errorf("act %q: want one of %v", string(a), Acts())
	}
	return nil
}

// plain is the act of a customer whose receipt is in iOS 6 style: such a reply
// cannot tell of a grace period, a price increase or an upgraded record.
func (a Act) plain() Act {
	switch a {
	case ActRecoverInGrace:
		return ActRecoverLate
	case ActUpgrade, ActDowngrade, ActPriceAccepted, ActExtend, ActRefundPrevious, ActRefundAhead, ActFamilyLoss:
		return ActRenew
	case ActPriceRefused:
		return ActTurnOff
	default:
		return a
	}
}

// shared is the act of a subscription shared by the family: its member sees
// periods come, and end for good.
func (a Act) shared() Act {
	switch a {
	case ActFamilyLoss, ActTurnOff, ActRenew:
		return a
	case ActRefund, ActRefundReversed:
		return ActFamilyLoss
	case ActBillingLapse, ActPriceRefused, ActWithdrawn:
		return ActTurnOff
	default:
		return ActRenew
	}
}
