package applesim

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// TestCrowd asks for a customer with a small receipt, who has bought as many
// subscriptions as there may be.
func TestCrowd(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Customers: 1, Mix: &Mix{Crowded: 1}, Crowd: MaxCrowd})
	a := askFor(t, s, 0)
	if len(a.Receipt) > 40_000 {
		t.Errorf("a receipt of %d bytes is not small", len(a.Receipt))
	}
	if truth, _ := s.TruthOf("customer-0000000"); len(truth.Subscriptions) != 1 {
		t.Errorf("at the start: got %d subscriptions, want 1", len(truth.Subscriptions))
	}
	s.Clock().Advance(30 * 24 * time.Hour)
	var got said
	if err := json.Unmarshal(send(t, s, "production", a).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, p := range got.Latest {
		ids[p.OriginalID] = true
	}
	truth, _ := s.TruthOf("customer-0000000")
	if len(ids) != 1+MaxCrowd || len(got.Renewal) != 1+MaxCrowd || len(truth.Subscriptions) != 1+MaxCrowd {
		t.Errorf("got %d subscriptions, %d renewals and %d in truth, want %d of each", len(ids), len(got.Renewal), len(truth.Subscriptions), 1+MaxCrowd)
	}
	if slices.ContainsFunc(got.Receipt.InApp, func(p saidTransaction) bool { return number(p.ID) > s.population.customer(0, 0).firstID(crowdBlock) }) {
		t.Error("the receipt shows one of the crowd")
	}
}

// TestNobodyChangesForACrowd holds the customers without a crowd to what they
// are anyhow.
func TestNobodyChangesForACrowd(t *testing.T) {
	t.Parallel()
	mix := DefaultMix()
	plain := newSim(t, Config{Customers: 60, Mix: &mix})
	crowded := mix
	crowded.Crowded = 0.2
	some := newSim(t, Config{Customers: 60, Mix: &crowded, Crowd: 3})
	now, crowds := start.AddDate(0, 2, 0), 0
	others := func(subscription Subscription) bool { return number(subscription.GroupID) >= crowdGroups }
	want := slices.Collect(plain.TruthAt(now))
	for i, truth := range slices.Collect(some.TruthAt(now)) {
		n := len(truth.Subscriptions)
		truth.Subscriptions = slices.DeleteFunc(truth.Subscriptions, others)
		if len(truth.Subscriptions) < n {
			crowds++
		}
		if got, was := encode(t, truth), encode(t, want[i]); got != was {
			t.Errorf("customer %d: got %s, want %s", i, got, was)
		}
	}
	if crowds < 4 || crowds > 20 {
		t.Errorf("%d of 60 customers have a crowd, want about 12", crowds)
	}
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
