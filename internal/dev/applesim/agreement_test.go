package applesim

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// said is a reply as a naive reader would take it.
type said struct {
	Environment string
	Receipt     struct {
		BundleID    string            `json:"bundle_id"`
		RequestDate string            `json:"request_date_ms"`
		InApp       []saidTransaction `json:"in_app"`
	}
	Latest  []saidTransaction   `json:"latest_receipt_info"`
	Renewal []map[string]string `json:"pending_renewal_info"`
}

type saidTransaction struct {
	ID         string `json:"transaction_id"`
	OriginalID string `json:"original_transaction_id"`
	ProductID  string `json:"product_id"`
	Expires    string `json:"expires_date_ms"`
	Cancelled  string `json:"cancellation_date_ms"`
	Upgraded   string `json:"is_upgraded"`
	Ownership  string `json:"in_app_ownership_type"`
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// conclude reads the state of each subscription from a reply by Apple's rules,
// with no knowledge of timelines.
func conclude(r said, now int64) map[string]string {
	newest := make(map[string]saidTransaction)
	for _, t := range r.Latest {
		if t.Expires == "" || t.Upgraded == "true" {
			continue
		}
		if known, ok := newest[t.OriginalID]; !ok || number(t.Expires) > number(known.Expires) {
			newest[t.OriginalID] = t
		}
	}
	states := make(map[string]string)
	for id, t := range newest {
		var renewal map[string]string
		for _, info := range r.Renewal {
			if info["original_transaction_id"] == id {
				renewal = info
			}
		}
		status := StatusExpired
		switch {
		case t.Cancelled != "":
			status = StatusRevoked
		case number(t.Expires) > now:
			status = StatusActive
		case number(renewal["grace_period_expires_date_ms"]) > now:
			status = StatusGracePeriod
		case renewal["is_in_billing_retry_period"] == "1":
			status = StatusBillingRetry
		}
		states[id] = fmt.Sprint(status, t.ProductID, t.ID, t.Expires, t.Cancelled, t.Ownership,
			renewal["auto_renew_status"], renewal["auto_renew_product_id"], renewal["expiration_intent"], renewal["price_consent_status"])
	}
	return states
}

func (s Subscription) told() string {
	var cancelled, status, next, intent, price string
	if s.CancellationDate != 0 {
		cancelled = strconv.FormatInt(s.CancellationDate, 10)
	}
	if r := s.Renewal; r != nil {
		status, next, intent, price = strconv.FormatInt(bit(r.AutoRenewStatus), 10), r.AutoRenewProductID, r.ExpirationIntent, r.PriceConsentStatus
	}
	return fmt.Sprint(s.Status, s.ProductID, s.TransactionID, strconv.FormatInt(s.ExpiresDate, 10), cancelled, s.InAppOwnershipType,
		status, next, intent, price)
}

// TestRepliesAgreeWithTruth asks for every customer of a population, again and
// again as time passes, and reads the replies by Apple's rules alone.
func TestRepliesAgreeWithTruth(t *testing.T) {
	t.Parallel()
	const customers = 200
	mix := DefaultMix()
	mix.TransactionStyle = 0
	s := newSim(t, Config{Customers: customers, Mix: &mix, LatestReceipt: LatestEcho})
	asks := make([]ask, customers)
	for i := range asks {
		asks[i] = askFor(t, s, i)
	}
	seen := make(map[Status]int)
	for round := range 6 {
		for i, a := range asks {
			truth, _ := s.TruthOf(fmt.Sprintf("customer-%07d", i))
			path := "production"
			if truth.Environment == Sandbox {
				path = "sandbox"
			}
			a.ExcludeOld = round%2 == 1
			var got said
			if err := json.Unmarshal(send(t, s, path, a).Body.Bytes(), &got); err != nil {
				t.Fatalf("customer %d: %v", i, err)
			}
			if now := number(got.Receipt.RequestDate); now != truth.AsOf || got.Receipt.BundleID != truth.BundleID {
				t.Fatalf("customer %d: got %d of %s, want %d of %s", i, now, got.Receipt.BundleID, truth.AsOf, truth.BundleID)
			}
			want := make(map[string]string)
			for _, sub := range truth.Subscriptions {
				want[sub.OriginalTransactionID] = sub.told()
				seen[sub.Status]++
			}
			if diff := cmp.Diff(want, conclude(got, truth.AsOf)); diff != "" {
				t.Fatalf("customer %d, round %d: (-truth +reply):\n%s", i, round, diff)
			}
		}
		s.Clock().Advance(12 * 24 * time.Hour)
	}
	for _, status := range []Status{StatusActive, StatusExpired, StatusBillingRetry, StatusGracePeriod, StatusRevoked} {
		if seen[status] == 0 {
			t.Errorf("status %s: not one in the population", status)
		}
	}
}

// TestLookingFurtherAheadChangesNothing computes each life to two horizons.
func TestLookingFurtherAheadChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Customers: 200})
	now := at(start)
	for i := range 200 {
		near := s.population.customer(i, now).truth(now)
		far := s.population.customer(i, now+5*year).truth(now)
		if diff := cmp.Diff(near, far); diff != "" {
			t.Fatalf("customer %d (-near +far):\n%s", i, diff)
		}
	}
}

// TestTimelinesAreInOrder has many short periods, as they are left by a late
// recovery in the grace period: little room between an act and a renewal.
func TestTimelinesAreInOrder(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Customers: 200, Mix: &Mix{Sandbox: 0.1, Resubscribe: 1, Acts: []Weight{
		{ActRecoverInGrace, 3}, {ActTurnOff, 1}, {ActDowngrade, 2}, {ActPriceAccepted, 2}, {ActRefundReversed, 1},
	}}})
	for i := range 200 {
		for _, chain := range s.population.customer(i, at(start)+2*year).chains {
			last := millis(math.MinInt64)
			for _, p := range chain.phases {
				if p.from < last {
					t.Fatalf("customer %d: phase %s begins before the one before it", i, p.status)
				}
				last = p.from
			}
		}
	}
}
