package corpustest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// corrections are what the script could not read in a file. One of a file that
// a folder lacks has no effect.
var corrections = map[string]struct{ why, expect string }{
	"receipts/emindeniz99-receipt-double-wrapped-75ad2a.b64": {
		"the script does not open the second OCTET STRING around the attributes",
		`{"receipt_type": "ProductionSandbox", "environment": "Sandbox", "bundle_id": "com.example.app",
		  "application_version": "1.2.3", "original_application_version": "1.0",
		  "receipt_creation_date_ms": 1722945600000, "original_purchase_date_ms": 1722945600000,
		  "n_in_app": 2, "n_distinct_transaction_ids": 2, "n_original_transaction_ids": 2, "n_without_expiry": 1,
		  "subscriptions": {"70000000000002": {"n": 1, "max_expires_ms": 1896168600000, "product_id": "com.example.app.vip"}}}`,
	},
}

// InAnyOrder compares lists without their order, which says nothing in what the
// script expects: cmp.Diff(want, got, corpustest.InAnyOrder()).
func InAnyOrder() cmp.Option {
	return cmpopts.SortSlices(func(a, b any) int { return strings.Compare(asJSON(a), asJSON(b)) })
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the value came from JSON
	}
	return string(text)
}

// TextDates names the dates, expires_date or cancellation_date, that some
// transaction of a reply has as a text only. Apple sends milliseconds with each;
// authors dropped them when they edited a reply. The script reads the text then,
// and the program does not.
func TextDates(reply []byte) []string {
	var value any
	if json.Unmarshal(reply, &value) != nil {
		return nil
	}
	dates := make(map[dateOf]forms)
	findDates(value, dates)
	var names []string
	for d, f := range dates {
		if f.text && !f.number && !slices.Contains(names, d.name) {
			names = append(names, d.name)
		}
	}
	slices.Sort(names)
	return names
}

// dateOf is a date of a transaction, which several lists may give.
type dateOf struct{ transaction, name string }

// forms are those in which a date came.
type forms struct{ text, number bool }

func findDates(value any, found map[dateOf]forms) {
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			findDates(v, found)
		}
	case map[string]any:
		for _, v := range value {
			findDates(v, found)
		}
		id, _ := value["transaction_id"].(string)
		if id == "" {
			id, _ = value["original_transaction_id"].(string)
		}
		for _, name := range []string{"expires_date", "cancellation_date"} {
			// In iOS 6 style the plain key has the milliseconds.
			d := dateOf{id, name}
			f := found[d]
			found[d] = forms{
				text:   f.text || isText(value[name]),
				number: f.number || isNumber(value[name]) || isNumber(value[name+"_ms"]),
			}
		}
	}
}

func isNumber(v any) bool {
	text, ok := v.(string)
	_, isFloat := v.(float64)
	return isFloat || ok && text != "" && strings.Trim(text, "0123456789") == ""
}

func isText(v any) bool {
	text, ok := v.(string)
	return ok && text != "" && !isNumber(v)
}
