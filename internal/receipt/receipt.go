// Package receipt reads what a receipt's own bytes say, without asking Apple:
// its kind, its app, its environment and its in-app purchase records. What Read
// returns is a claim: a Verifier reports whether Apple signed it, and only Apple
// whether it is still true.
package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"

	"revalidator/internal/iap"
)

// The errors of Parse and Read, matched with errors.Is. Their texts say what the
// input seems to be, and repeat no more of it than one character.
var (
	// ErrEmpty is for an input without a single byte that matters.
	ErrEmpty = errors.New("empty receipt")
	// ErrNotBase64 is for a text with other characters than base64 has.
	ErrNotBase64 = errors.New("not base64")
	// ErrNotAReceipt is for bytes that are neither of the two containers:
	// PKCS#7 (iOS 7 and later) or the property list of iOS 6.
	ErrNotAReceipt = errors.New("not an App Store receipt")
	// ErrTruncated is for a receipt whose end is missing.
	ErrTruncated = errors.New("receipt is cut off")
	// ErrMalformed is for a container that is there but cannot be read.
	ErrMalformed = errors.New("malformed receipt")
)

// Info is what a receipt says of itself. A text or a date is zero where the
// receipt has none or an unreadable one: a date in a new spelling is no reason
// to refuse what Apple may well accept.
type Info struct {
	Kind iap.ReceiptKind
	// Environment is empty for an Xcode receipt and where ReceiptType is
	// unknown. A transaction receipt of iOS 6 that names none is taken to be of
	// Production; then IsEnvironmentAssumed is true.
	Environment          iap.Environment
	IsEnvironmentAssumed bool
	// ReceiptType is Production, ProductionVPP, ProductionSandbox,
	// ProductionVPPSandbox or Xcode, as it came; empty for a transaction
	// receipt, which has no such field.
	// https://developer.apple.com/documentation/appstorereceipts/responsebody/receipt
	ReceiptType                string
	BundleID                   string
	ApplicationVersion         string
	OriginalApplicationVersion string

	// CreationDate is when Apple (or Xcode) signed the receipt,
	// OriginalPurchaseDate when the customer first got the app, and
	// ExpirationDate when a volume purchase ends. All are in UTC, and zero for
	// a transaction receipt.
	CreationDate         time.Time
	OriginalPurchaseDate time.Time
	ExpirationDate       time.Time

	// InApp is the number of in-app purchase records, readable or not.
	InApp int

	// Data is the receipt itself: the input cut at the end of its container,
	// because Apple accepts bytes after it and the hash must not depend on
	// them. It may share memory with the input.
	Data []byte

	transaction iap.Transaction // of a transaction receipt
	attributes  []byte          // of an app receipt: the body of its SET
}

// Read recognises and reads the bytes of a receipt, which is what is stored; Parse
// reads what is handed in. It is cheap for receipts of several megabytes: it walks
// over the in-app purchase records without reading them and copies nothing but
// short texts. The errors are ErrEmpty, ErrNotAReceipt, ErrTruncated and
// ErrMalformed.
func Read(data []byte) (Info, error) {
	switch text := bytes.TrimSpace(data); {
	case len(text) == 0:
		return Info{}, ErrEmpty
	case looksLikePKCS7(data):
		return readAppReceipt(data)
	case looksLikePropertyList(text):
		return readTransactionReceipt(text)
	}
	return Info{}, errNeither
}

// errNeither is the ErrNotAReceipt of bytes that are recognised as nothing else.
var errNeither = fmt.Errorf("%w: neither PKCS#7 nor a property list of iOS 6", ErrNotAReceipt)

// Transactions yields the in-app purchase records in the order of the receipt,
// which is no order in time. It ends with ErrMalformed at the first record that
// cannot be read: a record without its expiry would pass for another kind of
// purchase. A record tells only what was true when the receipt was signed.
func (i Info) Transactions() iter.Seq2[iap.Transaction, error] {
	if i.Kind == iap.KindTransactionReceipt {
		return func(yield func(iap.Transaction, error) bool) { yield(i.transaction, nil) }
	}
	return inAppRecords(i.attributes)
}
