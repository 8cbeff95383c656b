package iap

import (
	"cmp"
	"slices"
	"time"
)

// Facts is what one source said about one receipt at one moment of Apple's
// time. Whichever source speaks (verifyReceipt today), it adds transactions and
// renewal information here, in any order and as often as they come, and Derive
// concludes from the result. The zero value is ready to use. It is not safe for
// concurrent use.
type Facts struct {
	// AsOf is Apple's time of the facts: request_date of a verifyReceipt
	// reply, signedDate of a signed payload. State moves forward in this time
	// only, and nothing is judged by our own clock.
	AsOf        time.Time
	Environment Environment
	BundleID    string
	// TransactionStyle is whether the facts are a reply in iOS 6 style, which
	// cannot tell of a grace period, an offer or a price increase.
	TransactionStyle bool

	sightings  sightings
	renewals   []RenewalInfo
	hasCurrent bool // whether ListLatest shows anything
}

// List names where a transaction was found, because one reply can show the
// same transaction twice: as it is now, and as it was when the receipt was
// signed on the device.
type List int

const (
	// ListReceipt is the in_app list of the receipt: true when it was signed,
	// and possibly stale since.
	ListReceipt List = iota
	// ListLatest is latest_receipt_info and its iOS 6 twins: true now.
	ListLatest
)

// AddTransaction adds one record. A record without a TransactionID goes by its
// OriginalTransactionID; one with neither cannot be told from any other and is
// refused with false. Of the records with the same id, those of ListLatest lead
// and those of ListReceipt fill what they lack.
func (f *Facts) AddTransaction(t Transaction, from List) bool {
	t.TransactionID = cmp.Or(t.TransactionID, t.OriginalTransactionID)
	if t.TransactionID == "" {
		return false
	}
	f.sightings.add(t, from)
	f.hasCurrent = f.hasCurrent || from == ListLatest
	return true
}

// AddRenewalInfo adds one entry of pending_renewal_info.
func (f *Facts) AddRenewalInfo(r RenewalInfo) { f.renewals = append(f.renewals, r) }

// Transactions lists every transaction once, ordered by TransactionID.
func (f *Facts) Transactions() []Transaction {
	all := make([]Transaction, 0, f.sightings.n)
	for p := range f.sightings.records() {
		all = append(all, f.sightings.unpack(p))
	}
	return all
}

// RenewalInfos lists the renewal information in the order in which it came.
func (f *Facts) RenewalInfos() []RenewalInfo { return slices.Clone(f.renewals) }

// IsEmpty reports whether the source named no purchase at all, as a receipt of
// a customer who never bought anything does.
func (f *Facts) IsEmpty() bool { return f.sightings.n == 0 }
