package appstore_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// generated is a reply of any size, made as it is read, in the layout and
// with the proportions of real ones: 742 bytes a record in in_app, 754 in
// latest_receipt_info, and 536 characters of latest_receipt for each.
type generated struct {
	inApp, latest int
	receiptBytes  int

	part    int
	pending strings.Reader
}

func newGenerated(records int) *generated {
	return &generated{inApp: records, latest: records, receiptBytes: 4300 + 402*records}
}

func (g *generated) Read(p []byte) (int, error) {
	for g.pending.Len() == 0 {
		next, ok := g.next()
		if !ok {
			return 0, io.EOF
		}
		g.pending.Reset(next)
	}
	return g.pending.Read(p)
}

// next is the reply's next part: head, in_app, middle, latest_receipt_info,
// latest_receipt in pieces of 3,000 bytes, end.
func (g *generated) next() (string, bool) {
	i := g.part
	g.part++
	if i == 0 {
		return `{"status":0, "environment":"Production", "receipt":{"receipt_type":"Production", "bundle_id":"com.example.app", ` +
			`"request_date_ms":"1767225600000", "in_app":[`, true
	}
	if i--; i < g.inApp {
		return generatedRecord(i, g.inApp), true
	}
	if i -= g.inApp; i == 0 {
		return `]}, "latest_receipt_info":[`, true
	}
	if i--; i < g.latest {
		return generatedRecord(i, g.latest), true
	}
	if i -= g.latest; i == 0 {
		return `], "latest_receipt":"`, true
	}
	const piece = 3000
	if i--; i < g.receiptBytes/piece {
		return base64.StdEncoding.EncodeToString(make([]byte, piece)), true
	}
	if i -= g.receiptBytes / piece; i == 0 {
		return `", "pending_renewal_info":[{"original_transaction_id":"2000000000000000", "auto_renew_status":"1"}]}`, true
	}
	return "", false
}

func generatedRecord(i, of int) string {
	const minute = 60_000
	start := 1_600_000_000_000 + int64(i)*5*minute
	text := fmt.Sprintf("\n"+`{"quantity":"1", "product_id":"com.example.app.monthly", "transaction_id":"%d", `+
		`"original_transaction_id":"2000000000000000", "purchase_date":"2020-09-13 12:26:40 Etc/GMT", "purchase_date_ms":"%d", `+
		`"purchase_date_pst":"2020-09-13 05:26:40 America/Los_Angeles", "original_purchase_date":"2020-09-13 12:26:40 Etc/GMT", `+
		`"original_purchase_date_ms":"1600000000000", "original_purchase_date_pst":"2020-09-13 05:26:40 America/Los_Angeles", `+
		`"expires_date":"2020-09-13 12:31:40 Etc/GMT", "expires_date_ms":"%d", "expires_date_pst":"2020-09-13 05:31:40 America/Los_Angeles", `+
		`"web_order_line_item_id":"%d", "is_trial_period":"false", "is_in_intro_offer_period":"false", "in_app_ownership_type":"PURCHASED"}`,
		2_000_000_000_000_000+i, start, start+5*minute, 3_000_000_000_000_000+i)
	if i < of-1 {
		text += ", "
	}
	return text
}
