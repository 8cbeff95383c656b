package appstore

import (
	"time"

	"revalidator/internal/iap"
)

// record is a transaction and what its keys say only together.
type record struct {
	iap.Transaction
	// expires and cancelled are expires_date and cancellation_date where those
	// are milliseconds, as in iOS 6 style.
	expires, cancelled time.Time
	// expiresText and cancellationText tell of dates that came as text.
	expiresText, cancellationText bool
	// expiresOdd and cancelledOdd tell of milliseconds that are none.
	expiresOdd, cancelledOdd bool
}

// receipt reads the object receipt: that of an app, with its purchases in
// in_app, or in iOS 6 style one transaction. Which of them it is shows only at
// its end, as keys come in any order.
func (d *decoder) receipt() {
	var r record
	isApp := false
	for d.enter('{'); d.more('}'); {
		switch name := d.name(); string(name) {
		case "bundle_id":
			d.bundleID = d.text()
		case "bid":
			d.bid = d.text()
		case "request_date_ms":
			d.requestDate()
		case "in_app":
			isApp = true
			d.each("in_app", d.inApp)
		case "receipt_type":
			text, _ := d.scalar()
			d.typeEnvironment = iap.EnvironmentOf(string(text))
		case "adam_id", "download_id", "application_version", "original_application_version",
			"request_date", "request_date_pst",
			"receipt_creation_date", "receipt_creation_date_ms", "receipt_creation_date_pst",
			"preorder_date", "preorder_date_ms", "preorder_date_pst",
			"expiration_date", "expiration_date_ms", "expiration_date_pst":
			d.skip()
		default:
			d.transactionField(&r, "receipt", name)
		}
	}
	if !isApp && r.TransactionID+r.OriginalTransactionID != "" {
		d.out.Facts.TransactionStyle = true
		d.add(r, "receipt", iap.ListLatest)
	}
}

func (d *decoder) inApp() { d.transaction("in_app", iap.ListReceipt) }

func (d *decoder) latestReceiptInfo() { d.transaction("latest_receipt_info", iap.ListLatest) }

func (d *decoder) transaction(where string, list iap.List) {
	var r record
	for d.enter('{'); d.more('}'); {
		d.transactionField(&r, where, d.name())
	}
	d.add(r, where, list)
}

func (d *decoder) add(r record, where string, list iap.List) {
	if d.err != nil {
		return // a record that is cut in the middle
	}
	if d.kept.refused != nil {
		return // and is counted
	}
	if r.ExpiresDate.IsZero() {
		r.ExpiresDate = r.expires
	}
	if r.CancellationDate.IsZero() {
		r.CancellationDate = r.cancelled
	}
	if r.ExpiresDate.IsZero() && r.expiresText || r.CancellationDate.IsZero() && r.cancellationText {
		d.unknown.add(where+" with a text date only", 1)
	}
	r.IsExpiryUnreadable = r.ExpiresDate.IsZero() && (r.expiresText || r.expiresOdd)
	r.IsCancellationUnreadable = r.CancellationDate.IsZero() && (r.cancellationText || r.cancelledOdd)
	if !d.out.Facts.AddTransaction(r.Transaction, list) {
		d.unknown.add(where+" without an id", 1)
	}
	d.weighTransaction(r.Transaction, list)
}

func (d *decoder) transactionField(r *record, where string, name []byte) {
	switch string(name) {
	case "transaction_id":
		r.TransactionID = d.text()
	case "original_transaction_id":
		r.OriginalTransactionID = d.shared()
	case "web_order_line_item_id":
		if id := d.text(); id != "0" { // as in receipts, of what is no subscription
			r.WebOrderLineItemID = id
		}
	case "product_id":
		r.ProductID = d.shared()
	case "subscription_group_identifier":
		r.SubscriptionGroupIdentifier = d.shared()
	case "quantity":
		r.Quantity = d.number("quantity")
	case "purchase_date_ms":
		r.PurchaseDate = d.date("purchase_date_ms")
	case "original_purchase_date_ms":
		r.OriginalPurchaseDate = d.date("original_purchase_date_ms")
	case "expires_date_ms":
		r.ExpiresDate, r.expiresOdd = d.dateOrOdd("expires_date_ms")
	case "expires_date":
		r.expires, r.expiresText = d.dateOrText()
	case "cancellation_date_ms":
		r.CancellationDate, r.cancelledOdd = d.dateOrOdd("cancellation_date_ms")
	case "cancellation_date":
		r.cancelled, r.cancellationText = d.dateOrText()
	case "cancellation_reason":
		r.CancellationReason = d.shared()
	case "is_trial_period":
		r.IsTrialPeriod = d.flag("is_trial_period")
	case "is_in_intro_offer_period":
		r.IsInIntroOfferPeriod = d.flag("is_in_intro_offer_period")
	case "is_upgraded":
		r.IsUpgraded = d.flag("is_upgraded")
	case "in_app_ownership_type":
		r.InAppOwnershipType = d.ownership()
	case "promotional_offer_id":
		r.PromotionalOfferID = d.shared()
	case "offer_code_ref_name":
		r.OfferCodeRefName = d.shared()
	case "app_account_token":
		r.AppAccountToken = d.shared()
	default:
		d.ignored(where, name)
	}
}

// ignored passes over what says nothing about a purchase, or says it twice.
func (d *decoder) ignored(where string, name []byte) {
	switch string(name) {
	case "purchase_date", "purchase_date_pst", "original_purchase_date", "original_purchase_date_pst",
		"expires_date_pst", "expires_date_formatted", "expires_date_formatted_pst",
		"cancellation_date_pst",
		"bid", "bvrs", "item_id", "app_item_id", "version_external_identifier",
		"unique_identifier", "unique_vendor_identifier":
	default:
		d.unknown.key(where, name)
	}
	d.skip()
}

func (d *decoder) ownership() iap.OwnershipType {
	o := iap.OwnershipType(d.shared())
	switch o {
	case "", iap.OwnershipPurchased, iap.OwnershipFamilyShared:
	default:
		d.unknown.value("in_app_ownership_type", []byte(o))
	}
	return o
}

func (d *decoder) pendingRenewalInfo() {
	var r iap.RenewalInfo
	for d.enter('{'); d.more('}'); {
		d.renewalField(&r, d.name())
	}
	if d.err == nil && d.kept.refused == nil {
		d.out.Facts.AddRenewalInfo(r)
		d.renewals++
		d.weigh()
	}
}

func (d *decoder) renewalField(r *iap.RenewalInfo, name []byte) {
	switch string(name) {
	case "original_transaction_id":
		r.OriginalTransactionID = d.shared()
	case "product_id":
		r.ProductID = d.shared()
	case "auto_renew_product_id":
		r.AutoRenewProductID = d.shared()
	case "auto_renew_status":
		r.AutoRenewStatus = d.flagPointer("auto_renew_status")
	case "expiration_intent":
		r.ExpirationIntent = d.expirationIntent()
	case "is_in_billing_retry_period":
		r.IsInBillingRetryPeriod = d.flagPointer("is_in_billing_retry_period")
	case "grace_period_expires_date_ms":
		r.GracePeriodExpiresDate = d.date("grace_period_expires_date_ms")
	case "price_consent_status":
		r.PriceConsentStatus = d.shared()
	case "price_increase_status":
		r.PriceIncreaseStatus = d.shared()
	case "promotional_offer_id":
		r.PromotionalOfferID = d.shared()
	case "offer_code_ref_name":
		r.OfferCodeRefName = d.shared()
	case "grace_period_expires_date", "grace_period_expires_date_pst":
		d.skip()
	default:
		d.unknown.key("pending_renewal_info", name)
		d.skip()
	}
}

func (d *decoder) expirationIntent() iap.ExpirationIntent {
	i := iap.ExpirationIntent(d.shared())
	switch i {
	case "", iap.IntentCustomerCancelled, iap.IntentBillingError, iap.IntentPriceIncrease,
		iap.IntentProductNotAvailable, iap.IntentUnknown:
	default:
		d.unknown.value("expiration_intent", []byte(i))
	}
	return i
}
