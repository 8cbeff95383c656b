package applesim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recordsOf are the records of a customer's subscription in a reply, whatever
// its style, in order of their ids.
func recordsOf(t *testing.T, s *Server, a ask) []map[string]any {
	t.Helper()
	w := send(t, s, "production", a)
	var told struct {
		Latest  json.RawMessage `json:"latest_receipt_info"`
		Receipt struct {
			InApp []map[string]any `json:"in_app"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	var list []map[string]any
	if err := json.Unmarshal(told.Latest, &list); err != nil {
		var one map[string]any
		if err := json.Unmarshal(told.Latest, &one); err != nil {
			t.Fatal(err)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b map[string]any) int {
		return strings.Compare(a["transaction_id"].(string), b["transaction_id"].(string))
	})
	return list
}

// twoPeriods is a simulator of a subscription in its second month.
func twoPeriods(t *testing.T, style Style, rule Rule) (*Server, ask) {
	t.Helper()
	rule.Rate = 1
	s := newSim(t, Config{Faults: []Rule{rule}, Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -1, -10), Period: Monthly, Style: style},
	}})
	return s, askFor(t, s, 0)
}

func TestUndatedRecords(t *testing.T) {
	t.Parallel()
	const absent = "absent"
	right := digits(int64(at(start.AddDate(0, 1, -10))))
	fair := digits(int64(at(start.AddDate(0, 1, -10)) + far))
	tests := []struct {
		form Form
		app  any // expires_date_ms
		ios6 any // expires_date
	}{
		{FormEmpty, "", ""},
		{FormNull, nil, nil},
		{FormMissing, absent, absent},
		{FormImpossible, impossibleMS, impossibleMS},
		{FormFar, fair, strconv.FormatInt(int64(far), 10)},
	}
	field := func(record map[string]any, name string) any {
		value, ok := record[name]
		if !ok {
			return absent
		}
		return value
	}
	for _, test := range tests {
		t.Run(string(test.form), func(t *testing.T) {
			t.Parallel()
			s, a := twoPeriods(t, StyleApp, Rule{Fault: FaultUndated, Form: test.form})
			got := recordsOf(t, s, a)[1]
			if diff := cmp.Diff(test.app, field(got, "expires_date_ms")); diff != "" {
				t.Errorf("app receipt (-want +got)\n%s", diff)
			}
			if got["web_order_line_item_id"] == nil || got["subscription_group_identifier"] == nil {
				t.Error("nothing says that it is a subscription")
			}
			s, a = twoPeriods(t, StyleTransaction, Rule{Fault: FaultUndated, Form: test.form})
			if diff := cmp.Diff(test.ios6, field(recordsOf(t, s, a)[0], "expires_date")); diff != "" {
				t.Errorf("transaction receipt (-want +got)\n%s", diff)
			}
		})
	}
	t.Run("in order", func(t *testing.T) {
		t.Parallel()
		s, a := twoPeriods(t, StyleApp, Rule{Fault: FaultLatency})
		if diff := cmp.Diff(any(right), field(recordsOf(t, s, a)[1], "expires_date_ms")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestSomeRecords spoils a share of the records, in every form.
func TestSomeRecords(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{
		Faults:  []Rule{{Fault: FaultUndated, Rate: 1, Records: 0.5}},
		Stories: []Story{{BundleID: reader, Bought: start.AddDate(-3, 0, 0), Period: Weekly}},
	})
	dated, seen := 0, map[any]bool{}
	all := recordsOf(t, s, askFor(t, s, 0))
	for _, record := range all {
		ms, ok := record["expires_date_ms"].(string)
		if n, err := strconv.ParseInt(ms, 10, 64); ok && err == nil && n < int64(at(start.AddDate(1, 0, 0))) {
			dated++
			continue
		}
		if len(ms) > 5 {
			ms = ms[:1]
		}
		seen[ms] = true
	}
	if dated < len(all)/4 || dated > len(all)*3/4 || len(seen) < 3 {
		t.Errorf("%d of %d records are in order, and the others of %d forms", dated, len(all), len(seen))
	}
}

func TestFirstDates(t *testing.T) {
	t.Parallel()
	for _, style := range []Style{StyleApp, StyleTransaction} {
		s, a := twoPeriods(t, style, Rule{Fault: FaultFirstDates})
		all := recordsOf(t, s, a)
		newest := all[len(all)-1]
		if got, want := newest["original_purchase_date_ms"], digits(int64(at(start.AddDate(0, -1, -10).AddDate(0, 1, 0))+1000)); got != want {
			t.Errorf("%s: second period: got %v, want %s", style, got, want)
		}
		if first := all[0]; style == StyleApp && first["original_purchase_date_ms"] != digits(int64(at(start.AddDate(0, -1, -10))+1000)) {
			t.Errorf("first period: got %v, want a second after its purchase", first["original_purchase_date_ms"])
		}
	}
}

func TestLongIDs(t *testing.T) {
	t.Parallel()
	for want, rule := range map[int]Rule{3000: {Fault: FaultLongIDs}, 70: {Fault: FaultLongIDs, Bytes: 70}} {
		s, a := twoPeriods(t, StyleApp, rule)
		for _, record := range recordsOf(t, s, a) {
			if got := len(record["transaction_id"].(string)); got != want {
				t.Errorf("got an id of %d bytes, want %d", got, want)
			}
		}
	}
}
