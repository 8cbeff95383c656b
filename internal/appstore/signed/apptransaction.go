package signed

import (
	"time"

	"revalidator/internal/iap"
)

// AppTransaction is a JWSAppTransactionDecodedPayload: how a customer got the
// app itself.
// https://developer.apple.com/documentation/storekit/apptransaction
type AppTransaction struct {
	// Common has receiptCreationDate as its SignedDate.
	Common

	// Environment is receiptType.
	Environment iap.Environment
	BundleID    string
	// AppAppleID is Apple's id of the app, nil in the sandbox.
	AppAppleID         *int64
	AppTransactionID   string
	ApplicationVersion string
	// OriginalApplicationVersion is the version that the customer got first.
	OriginalApplicationVersion string
	VersionExternalIdentifier  *int64
	OriginalPurchaseDate       time.Time
	PreorderDate               time.Time
	// OriginalPlatform is iOS, macOS, tvOS or visionOS.
	OriginalPlatform string

	// The device alone can check these.
	DeviceVerification, DeviceVerificationNonce string
}

func (a *AppTransaction) decode(payload []byte) {
	d := decoder{where: "appTransaction"}
	d.object(payload, func(name string, v []byte) { a.field(&d, name, v) })
	a.Unknown = d.unknown
}

func (a *AppTransaction) field(d *decoder, name string, v []byte) {
	switch name {
	case "receiptType":
		a.Environment = iap.Environment(d.text(v))
	case "receiptCreationDate":
		a.SignedDate = d.date(name, v)
	case "bundleId":
		a.BundleID = d.text(v)
	case "appAppleId":
		a.AppAppleID = d.number(name, v)
	case "appTransactionId":
		a.AppTransactionID = d.text(v)
	case "applicationVersion":
		a.ApplicationVersion = d.text(v)
	case "originalApplicationVersion":
		a.OriginalApplicationVersion = d.text(v)
	case "versionExternalIdentifier":
		a.VersionExternalIdentifier = d.number(name, v)
	case "originalPurchaseDate":
		a.OriginalPurchaseDate = d.date(name, v)
	case "preorderDate":
		a.PreorderDate = d.date(name, v)
	case "originalPlatform":
		a.OriginalPlatform = d.oneOf(name, v, "iOS", "macOS", "tvOS", "visionOS")
	case "deviceVerification":
		a.DeviceVerification = d.text(v)
	case "deviceVerificationNonce":
		a.DeviceVerificationNonce = d.text(v)
	case "requestDate": // as Xcode sends it
	default:
		d.field(name)
	}
}
