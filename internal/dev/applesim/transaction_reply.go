package applesim

import (
	"cmp"
	"strconv"
)

// statusExpired is what a transaction receipt of a subscription that is over
// is answered; app receipts are never.
const statusExpired = 21006

// transactionReply writes the body for a transaction receipt: single objects
// where an app receipt has lists, the renewal information at the top level,
// and neither an environment nor a request date.
func (s *Server) transactionReply(q question, latestReceipt string) ([]byte, int) {
	w := s.newWriter(8<<10 + len(latestReceipt))
	w.open(`{`)
	status := 0
	if len(q.chains) > 0 {
		status = s.subscriptionReply(w, q, latestReceipt)
	}
	status = cmp.Or(q.status, status)
	w.key("receipt")
	s.transactionObject(w, q, q.transactionWith(q.receipt.id), "")
	w.number("status", int64(status))
	w.raw("}")
	return w.b, status
}

func (s *Server) subscriptionReply(w *writer, q question, latestReceipt string) int {
	chain := q.chains[0]
	latest := q.newest(chain)
	if !q.view.hidesRenewal() {
		w.topLevelRenewal(chain.phase(q.now))
	}
	if latest == nil {
		return 0
	}
	if latest.expires <= q.now {
		w.key("latest_expired_receipt_info")
		s.transactionObject(w, q, latest, "version_external_identifier")
		return statusExpired
	}
	w.key("latest_receipt_info")
	s.transactionObject(w, q, latest, "version_external_identifier")
	w.text("latest_receipt", latestReceipt)
	return 0
}

// topLevelRenewal writes what an app receipt is told in pending_renewal_info.
func (w *writer) topLevelRenewal(p *phase) {
	if p.intent != "" {
		w.text("expiration_intent", p.intent)
	}
	w.text("auto_renew_product_id", p.renewsTo.id)
	if p.retry || p.intent != "" {
		w.text("is_in_billing_retry_period", strconv.FormatInt(bit(p.retry), 10))
	}
	w.number("auto_renew_status", bit(p.autoRenew))
}

// transactionObject writes one purchase, but for the key that is left out.
func (s *Server) transactionObject(w *writer, q question, t *transaction, without string) {
	w.open("{")
	for _, f := range s.fields(q.customer, t) {
		switch f.key {
		case without:
			continue
		case "bid":
			f.value = q.bundleID
		case "transaction_id":
			f.value = q.spoil.id(t)
		case "expires_date":
			w.ios6Expiry(q.spoil.form(t), f.value)
			continue
		case "expires_date_formatted", "expires_date_formatted_pst":
			if q.spoil.form(t) != "" {
				continue
			}
		case "original_purchase_date":
			f.value = utcText(q.spoil.originallyBought(t))
		case "original_purchase_date_ms":
			f.value = digits(int64(q.spoil.originallyBought(t)))
		case "original_purchase_date_pst":
			f.value = s.pacificText(q.spoil.originallyBought(t))
		}
		w.text(f.key, f.value)
	}
	// An upgrade, which this style has no field for, is not told as a refund.
	if cancelled := t.cancellation(q.now); cancelled != 0 && !t.isUpgraded(q.now) {
		w.date("cancellation_date", cancelled)
		w.text("cancellation_reason", t.reason)
	}
	w.raw("}")
	w.more = true
}

// transactionWith is the purchase with the id; the first one if the clock was
// set back to before that purchase.
func (c *customer) transactionWith(id int64) *transaction {
	if len(c.chains) == 0 {
		return &c.purchases[0]
	}
	all := c.chains[0].transactions
	for i := range all {
		if all[i].id == id {
			return &all[i]
		}
	}
	return &all[0]
}
