package applesim

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// glimpse is what a reply shows of one subscription: its periods by number, and
// its date.
type glimpse struct {
	InApp, Latest []string
	Renewal       bool
	Dated         string
}

func glimpseOf(t *testing.T, s *Server, a ask) glimpse {
	t.Helper()
	w := send(t, s, "production", a)
	var got said
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	first := s.population.customer(0, 0).firstID(0)
	g := glimpse{Renewal: len(got.Renewal) > 0, Dated: time.UnixMilli(number(got.Receipt.RequestDate)).UTC().Format(time.RFC3339)}
	for _, p := range got.Receipt.InApp {
		g.InApp = append(g.InApp, digits(number(p.ID)-first))
	}
	for _, p := range got.Latest {
		g.Latest = append(g.Latest, digits(number(p.ID)-first))
	}
	if date, want := w.Header().Get("Date"), time.UnixMilli(number(got.Receipt.RequestDate)).UTC().Format(http.TimeFormat); date != want {
		t.Errorf("header is dated %s, the body %s", date, want)
	}
	return g
}

// TestViews asks for a subscription in its fourth period, of which the receipt
// shows two.
func TestViews(t *testing.T) {
	t.Parallel()
	const now, hourAgo = "2026-03-01T00:00:00Z", "2026-02-28T23:00:00Z"
	day := Duration(24 * time.Hour)
	tests := []struct {
		name  string
		rules []Rule
		all   bool // not without the old ones
		want  glimpse
	}{
		{"everything", nil, true, glimpse{[]string{"1", "2"}, []string{"1", "2", "3", "4"}, true, now}},
		{"without old ones", nil, false, glimpse{[]string{"1", "2"}, []string{"4"}, true, now}},
		{"no renewal", []Rule{{Fault: FaultNoRenewal}}, false, glimpse{[]string{"1", "2"}, []string{"4"}, false, now}},
		{"the oldest", []Rule{{Fault: FaultOlder}}, false, glimpse{[]string{"1"}, []string{"1"}, true, now}},
		{"the two oldest", []Rule{{Fault: FaultOlder, Periods: 2}}, true, glimpse{[]string{"1", "2"}, []string{"1", "2"}, true, now}},
		{"all but the newest", []Rule{{Fault: FaultOlder, Periods: 9}}, true, glimpse{[]string{"1", "2"}, []string{"1", "2", "3"}, true, now}},
		{"nothing", []Rule{{Fault: FaultBare}}, false, glimpse{nil, nil, false, now}},
		{"a lag", []Rule{{Fault: FaultLag, Age: 12 * day}}, false, glimpse{[]string{"1", "2"}, []string{"3"}, true, now}},
		{"a lag, and a date as old", []Rule{{Fault: FaultStale}}, false, glimpse{[]string{"1", "2"}, []string{"4"}, true, hourAgo}},
		{"a clock ahead", []Rule{{Fault: FaultClock, Skew: day}}, false, glimpse{[]string{"1", "2"}, []string{"4"}, true, "2026-03-02T00:00:00Z"}},
		{"a clock behind", []Rule{{Fault: FaultClock, Skew: -day}}, false, glimpse{[]string{"1", "2"}, []string{"4"}, true, "2026-02-28T00:00:00Z"}},
		{"a clock behind, and a lag", []Rule{{Fault: FaultClock, Skew: -day}, {Fault: FaultLag, Age: 12 * day}}, false,
			glimpse{[]string{"1", "2"}, []string{"3"}, true, "2026-02-28T00:00:00Z"}},
		{"a clock of the other endpoint", []Rule{{Fault: FaultClock, Environment: Sandbox}}, false, glimpse{[]string{"1", "2"}, []string{"4"}, true, now}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for i := range test.rules {
				test.rules[i].Rate = 1
			}
			bought := start.AddDate(0, -3, -10)
			s := newSim(t, Config{Faults: test.rules, Stories: []Story{
				{BundleID: reader, Bought: bought, Period: Monthly, ReceiptCreated: bought.AddDate(0, 1, 2)},
			}})
			a := askFor(t, s, 0)
			a.ExcludeOld = !test.all
			got := glimpseOf(t, s, a)
			slices.Sort(got.InApp)
			slices.Sort(got.Latest)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestNewestIsNeverOlder holds a subscription of one period to be hidden whole.
func TestNewestIsNeverOlder(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{
		Faults:  []Rule{{Fault: FaultOlder, Rate: 1, Periods: 3}},
		Stories: []Story{{BundleID: reader, Bought: start.AddDate(0, 0, -10), Period: Monthly}},
	})
	if got := glimpseOf(t, s, askFor(t, s, 0)); got.InApp != nil || got.Latest != nil {
		t.Errorf("got %+v, want no period", got)
	}
}

// TestViewsOfATransaction is TestViews for a receipt in the style of iOS 6.
func TestViewsOfATransaction(t *testing.T) {
	t.Parallel()
	const month = 31 * 24 * time.Hour
	type shown struct {
		Latest, Expired string
		Status          int
		Renewal         bool
	}
	tests := []struct {
		name string
		rule Rule
		want shown
	}{
		{"everything", Rule{Fault: FaultLatency}, shown{Latest: "4", Renewal: true}},
		{"no renewal", Rule{Fault: FaultNoRenewal}, shown{Latest: "4"}},
		{"the oldest", Rule{Fault: FaultOlder}, shown{Expired: "1", Status: statusExpired, Renewal: true}},
		{"nothing", Rule{Fault: FaultBare}, shown{}},
		{"a lag", Rule{Fault: FaultLag, Age: Duration(month)}, shown{Latest: "3", Renewal: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.rule.Rate = 1
			s := newSim(t, Config{Faults: []Rule{test.rule}, Stories: []Story{
				{BundleID: reader, Bought: start.AddDate(0, -3, -10), Period: Monthly, Style: StyleTransaction},
			}})
			var said struct {
				Status  int
				Renewal *int            `json:"auto_renew_status"`
				Latest  saidTransaction `json:"latest_receipt_info"`
				Expired saidTransaction `json:"latest_expired_receipt_info"`
			}
			w := send(t, s, "production", askFor(t, s, 0))
			if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			got := shown{Status: said.Status, Renewal: said.Renewal != nil}
			for _, id := range []struct {
				from saidTransaction
				into *string
			}{{said.Latest, &got.Latest}, {said.Expired, &got.Expired}} {
				if id.from.ID != "" {
					*id.into = digits(number(id.from.ID) - s.population.customer(0, 0).firstID(0))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestShareOfCustomers holds a rule for some of them to the same ones each time.
func TestShareOfCustomers(t *testing.T) {
	t.Parallel()
	const customers = 60
	s := newSim(t, Config{Customers: customers, Mix: &Mix{}, Faults: []Rule{{Fault: FaultHTTP, Status: 503, Rate: 1, Customers: 0.3}}})
	hit := 0
	for i := range customers {
		a := askFor(t, s, i)
		first := send(t, s, "production", a).Code
		if second := send(t, s, "production", a).Code; second != first {
			t.Errorf("customer %d: first HTTP %d, then %d", i, first, second)
		}
		if first == 503 {
			hit++
		}
	}
	if hit < 8 || hit > 30 {
		t.Errorf("%d of %d customers, want about 18", hit, customers)
	}
}

// TestClocksSwitch has the clock of one endpoint go wrong while it runs, and
// come right.
func TestClocksSwitch(t *testing.T) {
	t.Parallel()
	s, a := oneCustomer(t)
	date := func() time.Duration {
		t.Helper()
		told, err := http.ParseTime(send(t, s, "production", a).Header().Get("Date"))
		if err != nil {
			t.Fatal(err)
		}
		return told.Sub(start)
	}
	for _, step := range []struct {
		rules string
		want  time.Duration
	}{
		{`[]`, 0},
		{`[{"fault": "clock", "rate": 1, "skew": "-20m", "environment": "Production"}]`, -20 * time.Minute},
		{`[{"fault": "clock", "rate": 1, "skew": "48h", "environment": "Sandbox"}]`, 0},
		{`[{"fault": "http", "status": 503, "rate": 1}, {"fault": "clock", "rate": 1}]`, time.Hour},
		{`[]`, 0},
	} {
		post(s, "/control/faults", []byte(step.rules))
		if got := date(); got != step.want {
			t.Errorf("with %s the clock is %s off, want %s", step.rules, got, step.want)
		}
	}
}

// TestRefundAheadIsShown asks while a renewal is refunded that has not begun:
// without old transactions the running period is not shown.
func TestRefundAheadIsShown(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -1, 0).Add(time.Hour), Period: Monthly, Acts: []Act{ActRefundAhead}},
	}})
	a := askFor(t, s, 0)
	first := digits(s.population.customer(0, 0).firstID(0) + 1)
	for all, want := range map[bool]int{true: 2, false: 1} {
		a.ExcludeOld = !all
		records := recordsOf(t, s, a)
		newest := records[len(records)-1]
		if len(records) != want || newest["transaction_id"] == first || newest["cancellation_date_ms"] == nil {
			t.Errorf("with all %v: got %v, want %d records, the last a refunded renewal", all, records, want)
		}
	}
	if truth, _ := s.TruthOf("customer-0000000"); truth.Subscriptions[0].TransactionID != first || len(truth.Subscriptions[0].Revoked) != 1 {
		t.Errorf("truth is %+v, want the first period, and a revoked one", truth.Subscriptions[0])
	}
}
