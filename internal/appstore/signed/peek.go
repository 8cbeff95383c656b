package signed

import (
	"encoding/json"
	"strings"
	"time"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
)

// Kind is what a JWS of Apple's holds.
type Kind string

// The kinds. The empty one is of a payload that is none of them.
const (
	KindTransaction    Kind = "transaction"
	KindRenewalInfo    Kind = "renewal_info"
	KindAppTransaction Kind = "app_transaction"
	KindNotification   Kind = "notification"
)

// Text is the kind in words.
func (k Kind) Text() string {
	switch k {
	case KindTransaction:
		return "signed transaction"
	case KindRenewalInfo:
		return "signed renewal info"
	case KindAppTransaction:
		return "signed app transaction"
	case KindNotification:
		return "App Store Server Notification V2"
	}
	return "JWS of unknown content"
}

// Claims is what a JWS says of itself before anything is verified. It serves to
// choose the app that it is verified for, and must not be believed otherwise.
type Claims struct {
	Kind        Kind
	BundleID    string
	AppAppleID  *int64
	Environment iap.Environment
	SignedDate  time.Time
}

// maxPeek bounds what Peek decodes, in bytes.
const maxPeek = 1 << 20

// Peek reads the payload of a JWS without verifying it. Its error is a
// *pki.Error for what is no JWS.
func Peek(jws string) (Claims, error) {
	if len(jws) > maxPeek {
		return Claims{}, pki.Errorf(pki.ReasonTooLarge, "%d bytes, may be %d", len(jws), maxPeek)
	}
	_, text, _, err := split(strings.TrimSpace(jws))
	if err != nil {
		return Claims{}, err
	}
	if !json.Valid(text) || text[0] != '{' {
		return Claims{}, pki.Errorf(pki.ReasonMalformed, "the payload is not a JSON object")
	}
	var c Claims
	d := decoder{}
	d.object(text, func(name string, v []byte) { c.field(&d, name, v) })
	switch {
	case c.Kind != "":
	case c.BundleID != "":
		c.Kind = KindTransaction
	case c.Environment != "": // renewal information is the kind that names no app
		c.Kind = KindRenewalInfo
	}
	return c, nil
}

// field reads names that tell the kinds apart, and what they are about.
func (c *Claims) field(d *decoder, name string, v []byte) {
	switch name {
	case "notificationType", "notificationUUID":
		c.Kind = KindNotification
	case "receiptType":
		c.Kind = KindAppTransaction
		c.Environment = iap.Environment(d.text(v))
	case "transactionId":
		c.Kind = KindTransaction
	case "autoRenewProductId", "autoRenewStatus":
		c.Kind = KindRenewalInfo
	case "environment":
		c.Environment = iap.Environment(d.text(v))
	case "bundleId":
		c.BundleID = d.text(v)
	case "appAppleId":
		c.AppAppleID = d.number(name, v)
	case "signedDate", "receiptCreationDate":
		c.SignedDate = d.date(name, v)
	case "externalPurchaseId":
		c.Environment = ExternalPurchaseToken{ExternalPurchaseID: d.text(v)}.Environment()
	case "data", "summary", "externalPurchaseToken", "appData":
		d.object(v, func(name string, v []byte) { c.field(d, name, v) })
	}
}
