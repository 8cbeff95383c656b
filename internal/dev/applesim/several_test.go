package applesim

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSeveralReceipts asks for a customer with four: each shows what was bought
// when it was taken, and all of them what is true now.
func TestSeveralReceipts(t *testing.T) {
	t.Parallel()
	bought := start.AddDate(0, -3, -10)
	s := newSim(t, Config{Stories: []Story{{
		BundleID: reader, Bought: bought, Period: Monthly, ReceiptCreated: start.AddDate(0, 0, -1),
		MoreReceipts: []time.Time{bought.Add(-time.Hour), bought.AddDate(0, 1, 2)}, OldStyle: true,
	}}})
	type shown struct {
		Style  Style
		InApp  []string
		Latest []string
	}
	var got []shown
	first := s.population.customer(0, 0).firstID(0)
	for r, err := range s.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		a := ask{Receipt: base64.StdEncoding.EncodeToString(r.Data), Password: s.Secrets(reader)[0], ExcludeOld: true}
		one := shown{Style: r.Style}
		for _, record := range recordsOf(t, s, a) {
			one.Latest = append(one.Latest, digits(number(record["transaction_id"].(string))-first))
		}
		var said said
		if r.Style == StyleApp {
			if err := json.Unmarshal(send(t, s, "production", a).Body.Bytes(), &said); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range said.Receipt.InApp {
			one.InApp = append(one.InApp, digits(number(p.ID)-first))
		}
		slices.Sort(one.InApp)
		got = append(got, one)
		if r.CustomerRef != "customer-0000000" {
			t.Errorf("customer is %s", r.CustomerRef)
		}
	}
	want := []shown{
		{StyleApp, []string{"1", "2", "3", "4"}, []string{"4"}},
		{StyleApp, nil, []string{"4"}},
		{StyleApp, []string{"1", "2"}, []string{"4"}},
		{StyleTransaction, nil, []string{"4"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestSeveralOfTheMix holds the shares, and the customers to what they are anyhow.
func TestSeveralOfTheMix(t *testing.T) {
	t.Parallel()
	const customers = 80
	mix := DefaultMix()
	plain := newSim(t, Config{Customers: customers, Mix: &mix})
	more := mix
	more.Several, more.OldStyle = 0.3, 0.2
	s := newSim(t, Config{Customers: customers, Mix: &more, Receipts: 5})
	counts, oldStyle, before := map[string]int{}, 0, map[string]bool{}
	for r, err := range s.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		counts[r.CustomerRef]++
		before[string(r.Data)] = true
		if r.Style == StyleTransaction && counts[r.CustomerRef] > 1 {
			oldStyle++
		}
	}
	several, all := 0, 0
	for _, n := range counts {
		if all += n; n >= 5 {
			several++
		}
	}
	if len(counts) != customers || several < 12 || several > 40 || oldStyle < 5 || oldStyle > 26 || len(before) != all {
		t.Errorf("%d customers, %d with several receipts, %d with one of the old style; %d receipts, %d of them different",
			len(counts), several, oldStyle, all, len(before))
	}
	for i := range customers {
		was, err := plain.Receipt(i)
		if err != nil {
			t.Fatal(err)
		}
		is, err := s.Receipt(i)
		if err != nil || !slices.Equal(was.Data, is.Data) {
			t.Errorf("customer %d has another first receipt, %v", i, err)
		}
	}
}

// TestOldStyleTellsLess asks in the grace period with both receipts.
func TestOldStyleTellsLess(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -1, -3), Period: Monthly, Acts: []Act{ActRecoverLate}, OldStyle: true},
	}})
	var keys []map[string]any
	for r, err := range s.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		var told map[string]any
		w := send(t, s, "production", ask{Receipt: base64.StdEncoding.EncodeToString(r.Data), Password: s.Secrets(reader)[0]})
		if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, told)
	}
	if keys[0]["pending_renewal_info"] == nil || keys[1]["status"] != 21006.0 || keys[1]["is_in_billing_retry_period"] != "1" {
		t.Errorf("got %v", keys)
	}
}
