package iap_test

import (
	"testing"
	"time"

	"revalidator/internal/iap"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	one := func(s iap.Subscription) iap.Conclusion {
		s.OriginalTransactionID, s.Environment = "1", cmpOr(s.Environment, iap.Production)
		return iap.Conclusion{Subscriptions: []iap.Subscription{s}}
	}
	because := func(s iap.Subscription, intent iap.ExpirationIntent) iap.Subscription {
		s.ExpirationIntent = intent
		return s
	}
	grace := func(end time.Duration) iap.Subscription {
		s := state(iap.StatusGracePeriod, "1", -day)
		s.GracePeriodExpiresDate = now.Add(end)
		return s
	}
	revoked := func(ago time.Duration) iap.Subscription {
		s := state(iap.StatusRevoked, "1", day)
		s.RevocationDate = now.Add(-ago)
		return s
	}
	sandbox := state(iap.StatusActive, "1", 3*time.Minute)
	sandbox.Environment = iap.Sandbox
	purchase := func(p iap.Purchase) iap.Conclusion { return iap.Conclusion{Purchases: []iap.Purchase{p}} }

	tests := []struct {
		name string
		c    iap.Conclusion
		want iap.Rule
		// from and to bound the time of the next check, as waits from now.
		from, to time.Duration
	}{
		{"active: just after expiry", one(state(iap.StatusActive, "1", 5*day)), iap.RuleRenewal, 5*day + 10*time.Minute, 5*day + 11*time.Minute},
		{"active for long: a refund can come before", one(state(iap.StatusActive, "1", 300*day)), iap.RuleRefundSweep, 27 * day, 33 * day},
		{"just expired, no reason given: Apple may be late", one(state(iap.StatusExpired, "1", -20*time.Minute)), iap.RuleLapse, 40 * time.Minute, 46 * time.Minute},
		{"expired with a reason", one(because(state(iap.StatusExpired, "1", -20*time.Minute), iap.IntentCustomerCancelled)), iap.RuleResubscribe, 23 * time.Hour, 27 * time.Hour},
		{"expired for 10 days", one(because(state(iap.StatusExpired, "1", -10*day), iap.IntentCustomerCancelled)), iap.RuleResubscribe, 20 * day, 23 * day},
		{"expired for 100 days", one(state(iap.StatusExpired, "1", -100*day)), iap.RuleResubscribe, 27 * day, 33 * day},
		{"expired for years", one(state(iap.StatusExpired, "1", -800*day)), iap.RuleSettled, 0, 0},
		{"grace period", one(grace(10 * day)), iap.RuleGracePeriod, 10 * time.Hour, 14 * time.Hour},
		{"last hours of the grace period", one(grace(3 * time.Hour)), iap.RuleGracePeriodEnd, 3*time.Hour + 10*time.Minute, 3*time.Hour + 11*time.Minute},
		{"billing retry in the first week", one(state(iap.StatusBillingRetry, "1", -2*day)), iap.RuleBillingRetry, 10 * time.Hour, 14 * time.Hour},
		{"billing retry later", one(state(iap.StatusBillingRetry, "1", -20*day)), iap.RuleBillingRetry, 21 * time.Hour, 27 * time.Hour},
		{"billing retry longer than Apple tries", one(state(iap.StatusBillingRetry, "1", -90*day)), iap.RuleBillingRetry, 21 * time.Hour, 27 * time.Hour},
		{"refunded the day before yesterday", one(revoked(40 * time.Hour)), iap.RuleRefundReversal, 5 * day, 7 * day},
		{"refunded long ago: people come back", one(revoked(20 * day)), iap.RuleResubscribe, 10 * day, 14 * day},
		{"sandbox clocks run faster", one(sandbox), iap.RuleRenewal, 3 * time.Minute, 4 * time.Minute},
		{"one-time purchase", purchase(iap.Purchase{PurchaseDate: now.Add(-day)}), iap.RuleRefundSweep, 27 * day, 33 * day},
		{"one-time purchase of last year", purchase(iap.Purchase{PurchaseDate: now.Add(-400 * day)}), iap.RuleSettled, 0, 0},
		{"nothing bought", iap.Conclusion{}, iap.RuleNoPurchases, 27 * day, 33 * day},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for id := range int64(200) {
				got := iap.DefaultPolicy().Plan(test.c, now, id)
				if got.Rule != test.want {
					t.Fatalf("rule %s, want %s", got.Rule, test.want)
				}
				wait := got.At.Sub(now)
				if test.want == iap.RuleSettled {
					if !got.At.IsZero() {
						t.Fatalf("settled, but looked at in %s", wait)
					}
					continue
				}
				if wait < test.from || wait > test.to {
					t.Fatalf("receipt %d: next check in %s, want between %s and %s", id, wait, test.from, test.to)
				}
			}
		})
	}
}

func cmpOr(e, fallback iap.Environment) iap.Environment {
	if e == "" {
		return fallback
	}
	return e
}

func TestPlanTakesTheEarliest(t *testing.T) {
	t.Parallel()
	late, soon := state(iap.StatusActive, "1", 20*day), state(iap.StatusActive, "2", 2*day)
	late.OriginalTransactionID, soon.OriginalTransactionID = "late", "soon"
	got := iap.DefaultPolicy().Plan(iap.Conclusion{Subscriptions: []iap.Subscription{late, soon}}, now, 1)
	if got.OriginalTransactionID != "soon" || got.Rule != iap.RuleRenewal {
		t.Errorf("got %+v, want the renewal of the subscription that ends first", got)
	}
}

func TestPlanSpreadsReceipts(t *testing.T) {
	t.Parallel()
	seen := map[time.Time]bool{}
	for id := range int64(1000) {
		c := iap.Conclusion{Subscriptions: []iap.Subscription{state(iap.StatusBillingRetry, "1", -20*day)}}
		seen[iap.DefaultPolicy().Plan(c, now, id).At] = true
	}
	if len(seen) < 990 {
		t.Errorf("1000 receipts share %d times", len(seen))
	}
}
