package receipt

import "bytes"

// hintWindow is how many bytes of an input are searched for what it might be.
const hintWindow = 8 << 10

// mistakenFor recognises the things that are often handed in as receipts, and
// says what to hand in. It is empty for anything else.
func mistakenFor(text []byte) string {
	text = bytes.TrimSpace(text[:min(len(text), hintWindow)])
	switch {
	case isJWS(text):
		return "that is a signed transaction (JWS), not a receipt: send the file at appStoreReceiptURL, in base64"
	case !bytes.HasPrefix(text, []byte("{")):
		return ""
	case contains(text, `"signedPayload"`):
		return "that is an App Store Server Notification V2, which carries no receipt"
	case contains(text, `"notification_type"`):
		return "that is an App Store Server Notification V1: its unified_receipt.latest_receipt is a receipt"
	case contains(text, `"latest_receipt"`), contains(text, `"status"`):
		return "that is a reply of verifyReceipt: its latest_receipt is a receipt"
	case looksLikePropertyList(text):
		return "that is a transaction receipt of iOS 6 as plain text: send it in base64"
	}
	return "that is JSON"
}

// isJWS recognises the start of a JSON Web Signature in compact form: "eyJ" is
// the base64 of `{"`, and a full stop, which base64 lacks, ends its header.
func isJWS(text []byte) bool {
	return bytes.HasPrefix(text, []byte("eyJ")) && bytes.IndexByte(text, '.') > 0
}

func contains(text []byte, key string) bool { return bytes.Contains(text, []byte(key)) }
