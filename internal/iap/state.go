package iap

import "fmt"

// ReceiptState is what is known of a receipt as such, apart from the
// subscriptions that it shows.
type ReceiptState string

// The states of a receipt.
const (
	// ReceiptNew has not been answered by Apple yet.
	ReceiptNew ReceiptState = "new"
	// ReceiptValid was accepted by Apple at its last answer.
	ReceiptValid ReceiptState = "valid"
	// ReceiptMalformed cannot be read by Apple, again and again (21002).
	ReceiptMalformed ReceiptState = "malformed"
	// ReceiptNotAuthenticated was refused by Apple as not authentic (21003).
	ReceiptNotAuthenticated ReceiptState = "not_authenticated"
	// ReceiptForged was refused by Apple and its signature is disproved.
	ReceiptForged ReceiptState = "forged"
	// ReceiptWrongApp belongs to another app than the one it came in for.
	ReceiptWrongApp ReceiptState = "wrong_app"
	// ReceiptAccountGone belongs to an account that Apple does not find any
	// more (21010).
	ReceiptAccountGone ReceiptState = "account_gone"
	// ReceiptTooLarge is larger than verifyReceipt accepts.
	ReceiptTooLarge ReceiptState = "too_large_for_verify_receipt"
	// ReceiptXcode comes from Xcode's StoreKit testing and is never sent.
	ReceiptXcode ReceiptState = "xcode"
	// ReceiptQuarantined never got a usable answer; a person decides.
	ReceiptQuarantined ReceiptState = "quarantined"
)

// ReceiptStates lists every ReceiptState.
func ReceiptStates() []ReceiptState {
	return []ReceiptState{
		ReceiptNew, ReceiptValid, ReceiptMalformed, ReceiptNotAuthenticated, ReceiptForged, ReceiptWrongApp,
		ReceiptAccountGone, ReceiptTooLarge, ReceiptXcode, ReceiptQuarantined,
	}
}

// QuarantineStates lists the states of receipts that are quarantined because of
// what they are: they are not checked any more, or once a week at most. No
// trouble of Apple's or ours leads there, but a good receipt may be among them
// all the same, so that a person can release it.
func QuarantineStates() []ReceiptState {
	return []ReceiptState{
		ReceiptMalformed, ReceiptNotAuthenticated, ReceiptForged, ReceiptWrongApp, ReceiptAccountGone, ReceiptTooLarge, ReceiptQuarantined,
	}
}

// Quarantined reports whether the state is one of QuarantineStates.
func (s ReceiptState) Quarantined() bool {
	switch s {
	case ReceiptMalformed, ReceiptNotAuthenticated, ReceiptForged, ReceiptWrongApp, ReceiptAccountGone, ReceiptTooLarge, ReceiptQuarantined:
		return true
	}
	return false
}

// Validate reports a value that is none of the states.
func (s ReceiptState) Validate() error {
	for _, known := range ReceiptStates() {
		if s == known {
			return nil
		}
	}
	return fmt.Errorf("receipt state %q: want one of %v", string(s), ReceiptStates())
}
