package receipt

import (
	"bytes"
	"encoding/json"
)

// hintWindow is how many bytes of an input are searched for what it might be.
const hintWindow = 8 << 10

// sendFile is what to hand in instead.
const sendFile = "send the file at appStoreReceiptURL, in base64"

// mistakenFor recognises texts other than JSON that are often handed in as
// receipts, and says what to hand in. It is empty for anything else.
func mistakenFor(text []byte) string {
	start := text[:min(len(text), hintWindow)]
	switch {
	case isJWS(text):
		return "that is " + nameOfJWS(text)
	case text[0] == '<':
		return "that is XML or HTML"
	case bytes.HasPrefix(text, []byte("0\ufffd")), bytes.HasPrefix(text, []byte("0\u0080")),
		bytes.HasPrefix(text, []byte("0\u0082")), bytes.HasPrefix(text, []byte("0\u0083")):
		return "that is a receipt whose bytes were read as text, which has changed them: send them in base64"
	case isImportHeader(start):
		return "that is a file for 'revalidator import': hand in one receipt"
	}
	return ""
}

// isImportHeader recognises the first line of CSV for an import.
func isImportHeader(start []byte) bool {
	line, _, _ := bytes.Cut(start, []byte("\n"))
	return contains(line, "bundle_id") && contains(line, "customer_ref")
}

// objectMistakenFor says what a JSON object is that holds no receipt where one
// belongs.
func objectMistakenFor(fields map[string]json.RawMessage) string {
	has := func(name string) bool { _, ok := fields[name]; return ok }
	switch {
	case has("signedPayload"):
		return "that is an App Store Server Notification V2, which carries no receipt"
	case has("notificationType"):
		return "that is the content of an App Store Server Notification V2, which carries no receipt"
	case has("notification_type"):
		return "that is an App Store Server Notification V1" + whereInNotification(fields)
	case has("latest_receipt"):
		return "that is a reply of verifyReceipt: its latest_receipt is a receipt"
	case has("latest_expired_receipt"):
		return "that is a reply of verifyReceipt: its latest_expired_receipt is a receipt"
	case has("signedTransactionInfo"), has("signedTransactions"), has("signedRenewalInfo"), has("signedAppTransactionInfo"):
		return "that is a reply of the App Store Server API, which carries no receipt: " + sendFile
	case has("status"):
		return "that is a reply of verifyReceipt that carries no receipt"
	case has("fingerprint_key"), has("primaryKeyId"):
		return "that is a file of encryption keys, as 'revalidator keys generate' makes it: keep it secret"
	case has("transactionId"), has("originalTransactionId"):
		return "that is the content of a signed transaction, not a receipt: " + sendFile
	}
	return "that is JSON without a receipt: it stands under receipt-data or receipt"
}

// whereInNotification is where the receipt stands in a notification of version 1:
// the older ones have no unified_receipt, and of an expired subscription another
// name.
func whereInNotification(fields map[string]json.RawMessage) string {
	var unified map[string]json.RawMessage
	_ = json.Unmarshal(fields["unified_receipt"], &unified)
	switch {
	case unified["latest_receipt"] != nil:
		return ": its unified_receipt.latest_receipt is a receipt"
	case fields["latest_receipt"] != nil:
		return ": its latest_receipt is a receipt"
	case fields["latest_expired_receipt"] != nil:
		return ": its latest_expired_receipt is a receipt"
	}
	return ", which carries no receipt"
}

// cutJSON says what JSON seems to be whose end is missing.
func cutJSON(text []byte) string {
	start := text[:min(len(text), hintWindow)]
	switch {
	case contains(start, `"signedPayload"`):
		return "that is an App Store Server Notification V2"
	case contains(start, `"notification_type"`):
		return "that is an App Store Server Notification V1"
	case contains(start, `"latest_receipt"`), contains(start, `"status"`):
		return "that is a reply of verifyReceipt"
	}
	return "that is JSON"
}

func contains(text []byte, key string) bool { return bytes.Contains(text, []byte(key)) }
