package iap

import "crypto/sha256"

// ReceiptKind is the format of a receipt's bytes.
type ReceiptKind string

// The kinds of receipts that exist in the wild.
const (
	// KindAppReceipt is the PKCS#7 container of iOS 7 and later.
	KindAppReceipt ReceiptKind = "app_receipt"
	// KindTransactionReceipt is the NeXT-style property list of iOS 6, one
	// transaction each.
	KindTransactionReceipt ReceiptKind = "transaction_receipt"
	// KindXcode is a PKCS#7 container signed by Xcode's StoreKit testing. The
	// App Store never accepts one (it answers 21002), so it is never sent.
	KindXcode ReceiptKind = "xcode"
	// KindSignedTransaction is a transaction that Apple signed as a JWS.
	KindSignedTransaction ReceiptKind = "signed_transaction"
)

// SignatureVerified is the mark of a receipt whose signature was verified when it
// came in. Any other is the reason why not.
const SignatureVerified = "verified"

// EnvironmentOf is the environment that a receipt_type is of: Production,
// ProductionVPP, ProductionSandbox or ProductionVPPSandbox. It is empty for any
// other, such as Xcode.
// https://developer.apple.com/documentation/appstorereceipts/responsebody/receipt
func EnvironmentOf(receiptType string) Environment {
	switch receiptType {
	case "Production", "ProductionVPP":
		return Production
	case "ProductionSandbox", "ProductionVPPSandbox":
		return Sandbox
	}
	return ""
}

// Receipt is one receipt of one customer as it was handed in, with what its
// own bytes say before Apple was asked.
type Receipt struct {
	BundleID string
	// CustomerRef is whatever the app's backend calls the customer. It is
	// stored and shown, and never interpreted.
	CustomerRef string
	Kind        ReceiptKind
	// Environment is what the receipt claims; empty where it claims nothing.
	// Apple has the last word with 21007 and 21008.
	Environment Environment
	// Data is the receipt itself, decoded from base64 and cut at the end of
	// its container. It never leaves the database but on its way to Apple.
	Data []byte
	// Signature is SignatureVerified or the reason why it is not, empty where
	// nobody looked.
	Signature string
	// Facts are those of a signed transaction that is verified, as of its signing
	// date; nil for all others.
	Facts *Facts
}

// SHA256 is the hash of Data, by which the same receipt is recognised.
func (r Receipt) SHA256() [sha256.Size]byte { return sha256.Sum256(r.Data) }
