package appstore

import "strconv"

// Code is a receipt status code: the field status of a reply. It says whether
// Apple accepted the receipt and nothing about a subscription; for that there
// is iap.Status.
// https://developer.apple.com/documentation/appstorereceipts/status
type Code int

// The codes that Apple documents. 21100 to 21199 are internal data access
// errors. -1 was seen, but is not documented.
const (
	CodeOK                  Code = 0
	CodeNotPOST             Code = 21000
	CodeNoLongerSent        Code = 21001
	CodeMalformed           Code = 21002
	CodeNotAuthenticated    Code = 21003
	CodeSharedSecret        Code = 21004
	CodeUnavailable         Code = 21005
	CodeSubscriptionExpired Code = 21006
	CodeIsSandbox           Code = 21007
	CodeIsProduction        Code = 21008
	CodeInternalError       Code = 21009
	CodeAccountGone         Code = 21010

	codeNull        Code = -1
	firstDataAccess Code = 21100
	lastDataAccess  Code = 21199
)

// String is the number and a few words, for logs and error texts.
func (c Code) String() string {
	short, _ := c.words()
	return strconv.Itoa(int(c)) + " " + short
}

// Meaning says in a sentence or two what the code means and what to do.
func (c Code) Meaning() string {
	_, meaning := c.words()
	return meaning
}

// succeeded reports whether the reply tells facts: 21006 is a receipt of iOS 6
// whose subscription has expired, and is as good an answer as 0.
func (c Code) succeeded() bool { return c == CodeOK || c == CodeSubscriptionExpired }

// isDataAccess reports the codes for which is_retryable is documented.
func (c Code) isDataAccess() bool { return firstDataAccess <= c && c <= lastDataAccess }

func (c Code) words() (short, meaning string) {
	switch c {
	case CodeOK:
		return "accepted", "The receipt is authentic. Whether a subscription is active stands in its transactions."
	case CodeNotPOST:
		return "request refused", "Apple could not read the request as a JSON POST. This is a fault of ours, not of the receipt."
	case CodeNoLongerSent:
		return "request refused", "Apple says that it no longer sends this code. Treat it as 21000."
	case CodeMalformed:
		return "receipt malformed, or Apple failing", "The receipt data is malformed, or Apple had a temporary problem; the code means both. Try again over some hours; if the receipt does not parse here either, it is broken."
	case CodeNotAuthenticated:
		return "receipt not authenticated", "Apple could not authenticate the receipt. If its signature verifies here, try again; otherwise set it aside."
	case CodeSharedSecret:
		return "shared secret refused", "The shared secret is not the one on file for the app. Try the app's other secrets; if none is accepted, pause the app and enter the right one."
	case CodeUnavailable:
		return "receipt server unavailable", "Apple's receipt server is temporarily unable to answer. Try again later."
	case CodeSubscriptionExpired:
		return "accepted, subscription expired", "The receipt is valid and its subscription has expired. Only receipts in the style of iOS 6 get this code."
	case CodeIsSandbox:
		return "receipt of the sandbox", "The receipt is from the test environment and was sent to production. Ask the sandbox."
	case CodeIsProduction:
		return "receipt of production", "The receipt is from production and was sent to the test environment. Ask production."
	case CodeInternalError:
		return "internal data access error", "Apple had an internal data access error. Try again later."
	case CodeAccountGone:
		return "account not found", "The customer's account was not found or has been deleted. Confirm on another day, then stop asking."
	case codeNull:
		return "null response", "Apple's receipt server had no answer of its own. Apple does not document this code; try again later."
	}
	if c.isDataAccess() {
		return "internal data access error", "Apple had an internal data access error. Try again, unless the reply says that it is not retryable."
	}
	return "unknown status", "Apple does not document this code. It says nothing about the receipt; try again later and look into it."
}
