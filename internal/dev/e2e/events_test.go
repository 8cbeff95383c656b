package e2e

import (
	"encoding/json"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
	"revalidator/internal/runs"
)

// eventful is a life in which much happens.
func eventful() *applesim.Mix {
	mix := applesim.DefaultMix()
	mix.Family, mix.TransactionStyle, mix.Resubscribe = 0.15, 0.05, 0.95
	mix.Acts = nil
	for _, act := range applesim.Acts() {
		mix.Acts = append(mix.Acts, applesim.Weight{Act: act, Weight: 1})
	}
	mix.Acts = append(mix.Acts, applesim.Weight{Act: applesim.ActRenew, Weight: 6})
	return &mix
}

// TestEventsTellEveryChange lets months go by, night by night, and then holds
// the events of each subscription to the row that they led to: nothing that an
// event tells of changed without one.
func TestEventsTellEveryChange(t *testing.T) {
	t.Parallel()
	const nights, hours = 45, 47
	n := newNight(t, applesim.Config{Seed: 11, Customers: 900, Mix: eventful()}, 5000, 1000)
	must(t, n.judge().Watch(t.Context()))
	stop := n.beside(n.worker().Run)
	defer stop()
	n.run("first")
	var since int64
	var run runs.Totals
	for i := range nights {
		n.past.Add(int64(hours * time.Hour))
		n.sim.Clock().Set(n.now())
		if i == nights-1 {
			n.exec(`UPDATE receipts SET next_check_at = $1`, n.now()) // the judge wants all of them asked
			since = n.lastRequest()
		}
		if run = n.run("night"); run.Failed != 0 {
			t.Fatalf("%d receipts failed: %s", run.Failed, n.failures(run))
		}
	}
	n.mustTellEachChange()
	verdict, err := n.judge().Judge(t.Context(), judge.Case{RunID: run.ID, Since: since, Started: n.now(), Rate: 5000, Burst: 1000, RateSlack: time.Second})
	must(t, err)
	for _, complaint := range verdict.Complaints {
		t.Error(complaint)
	}
	types := map[string]bool{}
	for _, document := range n.query(`SELECT to_json(type) FROM subscription_events GROUP BY type`) {
		var name string
		must(t, json.Unmarshal(document, &name))
		types[name] = true
	}
	want := []string{
		"started", "renewed", "recovered", "resubscribed", "extended", "trial_started", "trial_converted", "offer_redeemed",
		"entered_grace_period", "entered_billing_retry", "expired", "refunded", "refund_reversed", "family_access_lost",
		"product_changed", "product_change_scheduled", "auto_renew_disabled", "auto_renew_enabled",
		"price_increase_pending", "price_increase_accepted",
	}
	for _, name := range want {
		if !types[name] {
			t.Errorf("%s was never told", name)
		}
	}
}

// revocation is what events tell of one.
type revocation struct {
	TransactionID  string    `json:"transaction_id"`
	RevocationDate time.Time `json:"revocation_date"`
	Reason         string    `json:"revocation_reason"`
}

// told is what a state says that events tell of.
type told struct {
	Status              string       `json:"status"`
	ProductID           string       `json:"product_id"`
	TransactionID       string       `json:"transaction_id"`
	ExpiresDate         time.Time    `json:"expires_date"`
	AutoRenewStatus     *bool        `json:"auto_renew_status"`
	AutoRenewProductID  string       `json:"auto_renew_product_id"`
	PriceConsentStatus  string       `json:"price_consent_status"`
	Revocations         []revocation `json:"revocations"`
	IsTrialPeriod       bool         `json:"is_trial_period"`
	OriginalTransaction string       `json:"original_transaction_id"`
}

// mustTellEachChange follows each subscription from event to event: the state
// before one is the state after the one before it, and the last is the row.
func (n *night) mustTellEachChange() {
	n.t.Helper()
	const events = `
		SELECT json_build_object('type', type, 'before', before, 'after', after, 'as_of', as_of, 'transaction_id', transaction_id)
		FROM subscription_events WHERE after ? 'status' ORDER BY id`
	known := map[string]told{}
	once := map[string]bool{}
	for _, document := range n.query(events) {
		var e struct {
			Type          string    `json:"type"`
			TransactionID string    `json:"transaction_id"`
			AsOf          time.Time `json:"as_of"`
			Before        *told     `json:"before"`
			After         told      `json:"after"`
		}
		must(n.t, json.Unmarshal(document, &e))
		id := e.After.OriginalTransaction
		if key := id + e.Type + e.TransactionID + e.AsOf.String(); once[key] {
			n.t.Errorf("%s of %s was told twice", e.Type, id)
		} else {
			once[key] = true
		}
		before, isKnown := known[id]
		if isKnown && e.Before != nil && gocmp.Diff(before, e.After) != "" {
			if diff := gocmp.Diff(before, *e.Before); diff != "" {
				n.t.Errorf("subscription %s changed before %s and no event tells of it (-after the last +before this)\n%s", id, e.Type, diff)
			}
		}
		known[id] = e.After
	}
	for _, document := range n.query(`SELECT to_json(s) FROM subscriptions s`) {
		var row told
		must(n.t, json.Unmarshal(document, &row))
		last, isKnown := known[row.OriginalTransaction]
		if diff := gocmp.Diff(last, row); isKnown && diff != "" {
			n.t.Errorf("subscription %s changed after its last event (-event +row)\n%s", row.OriginalTransaction, diff)
		}
	}
	if len(known) < 100 {
		n.t.Errorf("events of %d subscriptions: the comparison proves little", len(known))
	}
}
