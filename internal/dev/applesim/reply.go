package applesim

import (
	"encoding/base64"
	"strconv"
)

// question is what one request asks of the App Store, once it is understood.
type question struct {
	*customer
	receipt    claim  // which one of the customer's
	now        millis // of what the reply tells
	dated      millis // when it says that this was so
	bundleID   string // as the reply tells it
	excludeOld bool
	view       view
	spoil      spoil
	status     int    // in place of the right one, where it is not 0
	sent       string // the receipt in base64
}

// reply is the body for a receipt that is in order.
func (s *Server) reply(q question) ([]byte, int, error) {
	latest, err := s.latestReceipt(q)
	if err != nil {
		return nil, 0, err
	}
	if q.receipt.style == StyleTransaction {
		body, status := s.transactionReply(q, latest)
		return body, status, nil
	}
	return s.appReply(q, latest), q.status, nil
}

func (s *Server) latestReceipt(q question) (string, error) {
	if s.cfg.LatestReceipt == LatestEcho {
		return q.sent, nil
	}
	data, err := s.receiptBytes(q.customer, q.receipt.style, q.now)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(data), nil
}

// appReply writes the body for an app receipt, with the keys in the order, and
// the line ends at the places, of recorded replies.
func (s *Server) appReply(q question, latestReceipt string) []byte {
	inApp := shuffled(q.inApp(), s.cfg.Seed, q.index)
	latest := shuffled(q.latestInfo(), s.cfg.Seed+1, q.index)

	w := s.newWriter(4<<10 + bytesPerItem/2*(len(inApp)+len(latest)) + len(latestReceipt))
	w.open(`{`)
	w.number("status", int64(q.status))
	w.text("environment", q.environment())
	w.raw(", \n" + `"receipt":`)
	w.appReceipt(q)
	w.raw(", \n" + `"in_app":`)
	w.transactions(q, inApp, q.receipt.created, false)
	w.raw("}")
	if len(latest) > 0 {
		w.raw(", \n" + `"latest_receipt_info":`)
		w.transactions(q, latest, q.now, true)
		w.raw(", \n" + `"latest_receipt":"` + latestReceipt + `"`)
	}
	w.pendingRenewalInfo(q)
	w.raw("}")
	return w.b
}

// appReceipt writes the receipt object, but for its purchases and its end.
func (w *writer) appReceipt(q question) {
	app := q.details()
	w.open(`{`)
	w.text("receipt_type", app.receiptType)
	w.number("adam_id", app.number)
	w.number("app_item_id", app.number)
	w.text("bundle_id", q.bundleID)
	w.text("application_version", app.version)
	w.number("download_id", app.downloadID)
	w.number("version_external_identifier", app.versionID)
	w.date("receipt_creation_date", q.receipt.created)
	w.date("request_date", q.dated)
	w.date("original_purchase_date", app.originalPurchase)
	w.text("original_application_version", app.originalVersion)
}

// transactions writes a list of them as they show at the moment. Only the
// current list knows the subscription group and of upgrades.
func (w *writer) transactions(q question, list []*transaction, at millis, current bool) {
	w.raw("[")
	for i, t := range list {
		if i > 0 {
			w.raw(", ")
		}
		w.raw("\n")
		w.transaction(q.spoil, t, at, current)
	}
	w.raw("]")
}

func (w *writer) transaction(s spoil, t *transaction, at millis, current bool) {
	cancelled := t.cancellation(at)
	w.open(`{`)
	w.text("quantity", "1")
	w.text("product_id", t.product.id)
	w.text("transaction_id", s.id(t))
	w.digits("original_transaction_id", t.originalID)
	w.date("purchase_date", t.bought)
	w.date("original_purchase_date", s.originallyBought(t))
	w.expiry(s.form(t), t.expiry(at))
	w.date("cancellation_date", cancelled)
	if t.product.kind == autoRenewable {
		w.digits("web_order_line_item_id", t.webOrderLineItemID)
	}
	w.truth("is_trial_period", t.trial)
	if t.product.kind == autoRenewable {
		w.truth("is_in_intro_offer_period", t.intro)
	}
	if cancelled != 0 {
		w.text("cancellation_reason", t.reason)
	}
	w.text("in_app_ownership_type", t.ownership())
	if current && t.product.kind == autoRenewable {
		w.text("subscription_group_identifier", t.product.group)
		if t.offerCode != "" {
			w.text("offer_code_ref_name", t.offerCode)
		}
		if t.isUpgraded(at) {
			w.text("is_upgraded", "true")
		}
	}
	w.raw("}")
}

func (w *writer) pendingRenewalInfo(q question) {
	separator := ", \n" + `"pending_renewal_info":[` + "\n"
	for _, chain := range q.chains {
		if chain.family || chain.current(q.now) == nil || q.view.hidesRenewal() {
			continue
		}
		w.raw(separator)
		separator = ", \n"
		w.renewal(chain, q.now)
	}
	if separator == ", \n" {
		w.raw("]")
	}
}

func (w *writer) renewal(c *chain, now millis) {
	p := c.phase(now)
	w.open(`{`)
	if p.intent != "" {
		w.text("expiration_intent", p.intent)
	}
	w.date("grace_period_expires_date", p.graceEnds)
	w.text("auto_renew_product_id", p.renewsTo.id)
	w.digits("original_transaction_id", c.originalID)
	if p.retry || p.intent != "" {
		w.text("is_in_billing_retry_period", strconv.FormatInt(bit(p.retry), 10))
	}
	if p.priceConsent != "" {
		w.text("price_consent_status", p.priceConsent)
	}
	w.text("product_id", c.current(now).product.id)
	w.text("auto_renew_status", strconv.FormatInt(bit(p.autoRenew), 10))
	w.raw("}")
}
