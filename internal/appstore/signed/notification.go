package signed

import (
	"strings"
	"time"

	"revalidator/internal/iap"
)

// Notification is a ResponseBodyV2DecodedPayload. Exactly one of Data, Summary,
// ExternalPurchaseToken and AppData is set.
// https://developer.apple.com/documentation/appstoreservernotifications/responsebodyv2decodedpayload
type Notification struct {
	Common

	// NotificationType and Subtype are as Apple sends them, also where they are
	// newer than this program.
	NotificationType string
	Subtype          string
	// NotificationUUID is the same in every attempt to deliver it.
	NotificationUUID string
	// Version is "2.0" and will stay so.
	Version string

	Data                  *NotificationData
	Summary               *Summary
	ExternalPurchaseToken *ExternalPurchaseToken
	AppData               *AppData
}

// NotificationData is the field data. The transaction and the renewal
// information are verified as well, and nil where there is none.
type NotificationData struct {
	Environment iap.Environment
	// AppAppleID is nil in the sandbox.
	AppAppleID    *int64
	BundleID      string
	BundleVersion string
	// Status is 1 active, 2 expired, 3 billing retry, 4 grace period, 5 revoked,
	// of a subscription as of SignedDate.
	Status                   *int64
	ConsumptionRequestReason string

	// The payloads as they came, and as they were verified.
	SignedTransactionInfo string
	Transaction           *Transaction
	SignedRenewalInfo     string
	RenewalInfo           *RenewalInfo
}

// Summary is the result of the extension of many subscriptions.
type Summary struct {
	Environment            iap.Environment
	AppAppleID             *int64
	BundleID               string
	ProductID              string
	RequestIdentifier      string
	StorefrontCountryCodes []string
	SucceededCount         *int64
	FailedCount            *int64
}

// ExternalPurchaseToken is a token of a purchase outside the App Store.
type ExternalPurchaseToken struct {
	ExternalPurchaseID  string
	AppAppleID          *int64
	BundleID            string
	TokenType           string // SERVICES or ACQUISITION
	TokenCreationDate   time.Time
	TokenExpirationDate time.Time
}

// Environment follows from the id, as the token has no such field.
// https://developer.apple.com/documentation/appstoreservernotifications/externalpurchaseid
func (t ExternalPurchaseToken) Environment() iap.Environment {
	if strings.HasPrefix(t.ExternalPurchaseID, "SANDBOX") {
		return iap.Sandbox
	}
	return iap.Production
}

// AppData is the field appData. The app transaction is verified as well, and
// nil where there is none.
type AppData struct {
	Environment iap.Environment
	AppAppleID  *int64
	BundleID    string

	SignedAppTransactionInfo string
	AppTransaction           *AppTransaction
}

func (n *Notification) decode(payload []byte) {
	d := decoder{where: "notification"}
	d.object(payload, func(name string, v []byte) { n.field(&d, name, v) })
	n.Unknown = d.unknown
}

func (n *Notification) field(d *decoder, name string, v []byte) {
	switch name {
	case "notificationType":
		n.NotificationType = d.oneOf(name, v, notificationTypes...)
	case "subtype":
		n.Subtype = d.oneOf(name, v, subtypes...)
	case "notificationUUID":
		n.NotificationUUID = d.text(v)
	case "version":
		n.Version = d.oneOf(name, v, "2.0")
	case "signedDate":
		n.SignedDate = d.date(name, v)
	case "data":
		n.Data = &NotificationData{}
		d.nested(name, v, n.Data.field)
	case "summary":
		n.Summary = &Summary{}
		d.nested(name, v, n.Summary.field)
	case "externalPurchaseToken":
		n.ExternalPurchaseToken = &ExternalPurchaseToken{}
		d.nested(name, v, n.ExternalPurchaseToken.field)
	case "appData":
		n.AppData = &AppData{}
		d.nested(name, v, n.AppData.field)
	default:
		d.field(name)
	}
}

func (n *NotificationData) field(d *decoder, name string, v []byte) {
	switch name {
	case "environment":
		n.Environment = iap.Environment(d.text(v))
	case "appAppleId":
		n.AppAppleID = d.number(name, v)
	case "bundleId":
		n.BundleID = d.text(v)
	case "bundleVersion":
		n.BundleVersion = d.text(v)
	case "status":
		n.Status = d.numberOf(name, v, 1, 5)
	case "consumptionRequestReason":
		n.ConsumptionRequestReason = d.oneOf(name, v, "UNINTENDED_PURCHASE", "FULFILLMENT_ISSUE", "UNSATISFIED_WITH_PURCHASE", "LEGAL", "OTHER")
	case "signedTransactionInfo":
		n.SignedTransactionInfo, _ = d.scalar(v)
	case "signedRenewalInfo":
		n.SignedRenewalInfo, _ = d.scalar(v)
	default:
		d.field(name)
	}
}

func (s *Summary) field(d *decoder, name string, v []byte) {
	switch name {
	case "environment":
		s.Environment = iap.Environment(d.text(v))
	case "appAppleId":
		s.AppAppleID = d.number(name, v)
	case "bundleId":
		s.BundleID = d.text(v)
	case "productId":
		s.ProductID = d.text(v)
	case "requestIdentifier":
		s.RequestIdentifier = d.text(v)
	case "storefrontCountryCodes":
		d.list(name, v, func(v []byte) { s.StorefrontCountryCodes = append(s.StorefrontCountryCodes, d.text(v)) })
	case "succeededCount":
		s.SucceededCount = d.number(name, v)
	case "failedCount":
		s.FailedCount = d.number(name, v)
	default:
		d.field(name)
	}
}

func (t *ExternalPurchaseToken) field(d *decoder, name string, v []byte) {
	switch name {
	case "externalPurchaseId":
		t.ExternalPurchaseID = d.text(v)
	case "appAppleId":
		t.AppAppleID = d.number(name, v)
	case "bundleId":
		t.BundleID = d.text(v)
	case "tokenType":
		t.TokenType = d.oneOf(name, v, "SERVICES", "ACQUISITION")
	case "tokenCreationDate":
		t.TokenCreationDate = d.date(name, v)
	case "tokenExpirationDate":
		t.TokenExpirationDate = d.date(name, v)
	default:
		d.field(name)
	}
}

func (a *AppData) field(d *decoder, name string, v []byte) {
	switch name {
	case "environment":
		a.Environment = iap.Environment(d.text(v))
	case "appAppleId":
		a.AppAppleID = d.number(name, v)
	case "bundleId":
		a.BundleID = d.text(v)
	case "signedAppTransactionInfo":
		a.SignedAppTransactionInfo, _ = d.scalar(v)
	default:
		d.field(name)
	}
}

// The values that Apple documents, to count others. The change log calls
// MIGRATION MIGRATE.
var (
	notificationTypes = []string{
		"SUBSCRIBED", "DID_CHANGE_RENEWAL_PREF", "DID_CHANGE_RENEWAL_STATUS", "OFFER_REDEEMED", "DID_RENEW", "EXPIRED",
		"DID_FAIL_TO_RENEW", "GRACE_PERIOD_EXPIRED", "PRICE_INCREASE", "REFUND", "REFUND_DECLINED", "CONSUMPTION_REQUEST",
		"RENEWAL_EXTENDED", "REVOKE", "TEST", "RENEWAL_EXTENSION", "REFUND_REVERSED", "EXTERNAL_PURCHASE_TOKEN",
		"ONE_TIME_CHARGE", "RESCIND_CONSENT", "METADATA_UPDATE", "MIGRATION", "MIGRATE", "PRICE_CHANGE",
	}
	subtypes = []string{
		"INITIAL_BUY", "RESUBSCRIBE", "DOWNGRADE", "UPGRADE", "AUTO_RENEW_ENABLED", "AUTO_RENEW_DISABLED", "VOLUNTARY",
		"BILLING_RETRY", "PRICE_INCREASE", "GRACE_PERIOD", "PENDING", "ACCEPTED", "BILLING_RECOVERY",
		"PRODUCT_NOT_FOR_SALE", "SUMMARY", "FAILURE", "UNREPORTED", "ACTIVE_TOKEN_REMINDER", "CREATED",
	}
)
