package applesim

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestToldIsWhatIsSaid reads replies of every kind, as a naive reader does, and
// holds what the log describes them to it.
func TestToldIsWhatIsSaid(t *testing.T) {
	t.Parallel()
	mix := DefaultMix()
	mix.Several, mix.OldStyle, mix.Acts = 0.3, 0.3, append(mix.Acts, Weight{ActRefundAhead, 10})
	var rules []Rule
	for _, r := range []Rule{
		{Fault: FaultNoRenewal}, {Fault: FaultOlder}, {Fault: FaultOlder, Periods: 2}, {Fault: FaultBare},
		{Fault: FaultLag, Age: Duration(40 * 24 * time.Hour)}, {Fault: FaultStale}, {Fault: FaultFirstDates},
		{Fault: FaultUndated, Form: FormEmpty, Records: 0.5},
	} {
		r.Rate = 0.1
		rules = append(rules, r)
	}
	rules = append(rules, Rule{Fault: FaultClock, Rate: 0.1, Skew: Duration(-time.Minute)})
	s := newSim(t, Config{Customers: 120, Mix: &mix, Receipts: 3, Faults: rules, LatestReceipt: LatestEcho})
	var said []string
	for r, err := range s.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		w := send(t, s, strings.ToLower(r.Environment), ask{
			Receipt: base64.StdEncoding.EncodeToString(r.Data), Password: s.Secrets(r.BundleID)[0], ExcludeOld: len(said)%3 > 0,
		})
		said = append(said, readAloud(t, w.Body.Bytes(), r.Style))
	}
	var told []string
	for a := range s.Told(0) {
		told = append(told, a.aloud())
		if date := a.Dated.Sub(a.SimulatedTime); date > 0 || date < -time.Hour-time.Minute {
			t.Errorf("an answer of %s is dated %s", a.SimulatedTime, a.Dated)
		}
	}
	if len(said) != len(told) || len(said) < 130 {
		t.Fatalf("%d replies, %d of them told", len(said), len(told))
	}
	wrong := 0
	for i := range said {
		if diff := gocmp.Diff(strings.Split(said[i], "\n"), strings.Split(told[i], "\n")); diff != "" && wrong < 3 {
			wrong++
			t.Errorf("reply %d (-said +told)\n%s", i, diff)
		}
	}
}

// readAloud is a line for each record, and for each subscription whose renewal
// is told. A record of in_app that is among the current ones is left out.
func readAloud(t *testing.T, body []byte, style Style) string {
	t.Helper()
	var lines []string
	add := func(record map[string]any, current bool) {
		get := func(name string) string { return fmt.Sprint(cmp.Or(record[name], any(""))) }
		expires := get("expires_date_ms")
		if style == StyleTransaction {
			expires = get("expires_date")
		}
		lines = append(lines, fmt.Sprintln(get("transaction_id"), get("original_transaction_id"), get("product_id"),
			get("original_purchase_date_ms"), "until", expires, "cancelled", get("cancellation_date_ms"), current))
	}
	renewal := func(id string, record map[string]any) {
		get := func(name string) string { return fmt.Sprint(cmp.Or(record[name], any(""))) }
		lines = append(lines, fmt.Sprintln("renewal", id, get("auto_renew_status"), get("auto_renew_product_id"), get("expiration_intent"),
			get("is_in_billing_retry_period") == "1", get("grace_period_expires_date_ms"), get("price_consent_status")))
	}
	if style == StyleTransaction {
		var said map[string]any
		if err := json.Unmarshal(body, &said); err != nil {
			t.Fatal(err)
		}
		records := map[any]map[string]any{}
		for _, name := range []string{"receipt", "latest_receipt_info", "latest_expired_receipt_info"} {
			if record, ok := said[name].(map[string]any); ok {
				records[record["transaction_id"]] = record
			}
		}
		for _, record := range records {
			add(record, true)
			if said["auto_renew_status"] != nil {
				renewal(record["original_transaction_id"].(string), said)
			}
		}
	} else {
		var said struct {
			Receipt struct {
				InApp []map[string]any `json:"in_app"`
			}
			Latest  []map[string]any `json:"latest_receipt_info"`
			Renewal []map[string]any `json:"pending_renewal_info"`
		}
		if err := json.Unmarshal(body, &said); err != nil {
			t.Fatal(err)
		}
		current := map[any]bool{}
		for _, record := range said.Latest {
			add(record, true)
			current[record["transaction_id"]] = true
		}
		for _, record := range said.Receipt.InApp {
			if !current[record["transaction_id"]] {
				add(record, false)
			}
		}
		for _, record := range said.Renewal {
			renewal(record["original_transaction_id"].(string), record)
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

// aloud is readAloud of what the log tells.
func (told Told) aloud() string {
	var lines []string
	ms := func(n int64) string {
		if n == 0 {
			return ""
		}
		return digits(n)
	}
	for _, sub := range told.Subscriptions {
		for _, p := range sub.Periods {
			lines = append(lines, fmt.Sprintln(p.TransactionID, sub.OriginalTransactionID, p.ProductID,
				ms(p.OriginalPurchaseDate), "until", ms(p.ExpiresDate), "cancelled", ms(p.CancellationDate), p.IsCurrent))
		}
		if r := sub.Renewal; r != nil {
			lines = append(lines, fmt.Sprintln("renewal", sub.OriginalTransactionID, bit(r.AutoRenewStatus), r.AutoRenewProductID,
				r.ExpirationIntent, r.IsInBillingRetryPeriod, ms(r.GracePeriodExpiresDate), r.PriceConsentStatus))
		}
	}
	for _, p := range told.Purchases {
		lines = append(lines, fmt.Sprintln(p.TransactionID, p.TransactionID, p.ProductID, ms(p.PurchaseDate), "until", "", "cancelled",
			ms(p.CancellationDate), p.IsCurrent))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
