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
	with := func(s iap.Subscription, change ...func(*iap.Subscription)) iap.Subscription {
		for _, c := range change {
			c(&s)
		}
		return s
	}
	cancelled := func(s *iap.Subscription) { s.ExpirationIntent = iap.IntentCustomerCancelled }
	off := func(s *iap.Subscription) { s.AutoRenewStatus = new(false) }
	consent := func(status string) func(*iap.Subscription) {
		return func(s *iap.Subscription) { s.PriceConsentStatus = status }
	}
	bought := func(ago time.Duration) func(*iap.Subscription) {
		return func(s *iap.Subscription) { s.PurchaseDate = now.Add(-ago) }
	}
	sandbox := func(s *iap.Subscription) { s.Environment = iap.Sandbox }
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
	purchase := func(p iap.Purchase) iap.Conclusion { return iap.Conclusion{Purchases: []iap.Purchase{p}} }
	const hour, minute = time.Hour, time.Minute

	tests := []struct {
		name string
		c    iap.Conclusion
		want iap.Rule
		// from and to bound the time of the next check, as waits from now.
		from, to time.Duration
	}{
		{"active: a run of the last hours before the renewal", one(state(iap.StatusActive, "1", 5*day)), iap.RuleRenewal, 5*day - 7*hour, 5*day - 7*hour},
		{"active, and the last hours have come: just after expiry", one(state(iap.StatusActive, "1", 6*hour)), iap.RuleRenewal, 6*hour + 10*minute, 6*hour + 15*minute},
		{"active, renewal turned off: just after expiry", one(with(state(iap.StatusActive, "1", 5*day), off)), iap.RuleExpiry, 5*day + 10*minute, 5*day + 15*minute},
		{"a month of 31 days has no sweep", one(state(iap.StatusActive, "1", 31*day)), iap.RuleRenewal, 31*day - 7*hour, 31*day - 7*hour},
		{"a year just bought: a refund can come", one(with(state(iap.StatusActive, "1", 364*day), bought(day))), iap.RuleRefundSweep, 28 * day, 30 * day},
		{"a year bought long ago: less often", one(with(state(iap.StatusActive, "1", 200*day), bought(165*day))), iap.RuleRefundSweep, 59 * day, 60 * day},
		{"the last sweep of a year comes while a price increase shows", one(with(state(iap.StatusActive, "1", 60*day), bought(305*day))), iap.RuleRefundSweep, 39 * day, 40 * day},
		{"a price increase waits for consent", one(with(state(iap.StatusActive, "1", 25*day), consent("0"))), iap.RulePriceIncrease, 6 * day, 7 * day},
		{"a price increase was accepted", one(with(state(iap.StatusActive, "1", 25*day), consent("1"))), iap.RuleRenewal, 25*day - 7*hour, 25*day - 7*hour},
		{"just expired, no reason given: Apple may be late", one(state(iap.StatusExpired, "1", -20*minute)), iap.RuleLapse, 40 * minute, 46 * minute},
		{"expired with a reason", one(with(state(iap.StatusExpired, "1", -20*minute), cancelled)), iap.RuleResubscribe, 102 * hour, 108 * hour},
		{"expired for 10 days", one(with(state(iap.StatusExpired, "1", -10*day), cancelled)), iap.RuleResubscribe, 7 * day, 8 * day},
		{"a step that is near is left out", one(with(state(iap.StatusExpired, "1", -9*day), cancelled)), iap.RuleResubscribe, 8 * day, 9 * day},
		{"expired for 100 days", one(with(state(iap.StatusExpired, "1", -100*day), cancelled)), iap.RuleResubscribe, 28 * day, 30 * day},
		{"expired for 300 days", one(with(state(iap.StatusExpired, "1", -300*day), cancelled)), iap.RuleResubscribe, 56 * day, 60 * day},
		{"expired for years", one(state(iap.StatusExpired, "1", -800*day)), iap.RuleSettled, 0, 0},
		{"nothing left but an upgraded period", one(with(state(iap.StatusExpired, "1", 300*day), bought(20*day), func(s *iap.Subscription) { s.IsUpgraded = true })), iap.RuleResubscribe, 7 * day, 8 * day},
		{"grace period: each night", one(grace(10 * day)), iap.RuleGracePeriod, 11 * hour, 12 * hour},
		{"last hours of the grace period", one(grace(3 * hour)), iap.RuleGracePeriodEnd, 3*hour + 10*minute, 3*hour + 15*minute},
		{"billing retry: each night", one(state(iap.StatusBillingRetry, "1", -20*day)), iap.RuleBillingRetry, 11 * hour, 12 * hour},
		{"billing retry later: less often", one(state(iap.StatusBillingRetry, "1", -40*day)), iap.RuleBillingRetry, 4 * day, 5 * day},
		{"Apple is about to stop trying", one(state(iap.StatusBillingRetry, "1", -59*day)), iap.RuleBillingRetryEnd, day + 10*minute, day + 15*minute},
		{"billing retry longer than Apple tries", one(state(iap.StatusBillingRetry, "1", -90*day)), iap.RuleBillingRetryEnd, 6 * day, 7 * day},
		{"refunded the day before yesterday", one(revoked(40 * hour)), iap.RuleRefundReversal, 64 * hour, 68 * hour},
		{"refunded long ago: people come back", one(revoked(20 * day)), iap.RuleResubscribe, 7 * day, 8 * day},
		{"sandbox: days are minutes", one(with(state(iap.StatusActive, "1", 3*minute), sandbox, bought(2*minute))), iap.RuleRenewal, 2 * minute, 4 * minute},
		{"sandbox: a tail of hours", one(with(state(iap.StatusExpired, "1", -7*hour), sandbox, bought(7*hour+5*minute))), iap.RuleSettled, 0, 0},
		{"TestFlight: a day for each period", one(with(state(iap.StatusActive, "1", 20*hour), sandbox, bought(4*hour))), iap.RuleRenewal, 19 * hour, 20 * hour},
		{"TestFlight: a tail of days", one(with(state(iap.StatusExpired, "1", -7*hour), sandbox, cancelled, bought(31*hour))), iap.RuleResubscribe, 2 * hour, 7 * hour},
		{"one-time purchase", purchase(iap.Purchase{PurchaseDate: now.Add(-day)}), iap.RulePurchaseSweep, 28 * day, 30 * day},
		{"one-time purchase of last year", purchase(iap.Purchase{PurchaseDate: now.Add(-400 * day)}), iap.RuleSettled, 0, 0},
		{"one-time purchase, refunded", purchase(iap.Purchase{PurchaseDate: now.Add(-20 * day), RevocationDate: now.Add(-5 * day)}), iap.RuleRefundReversal, 5 * day, 6 * day},
		{"one-time purchase, refunded long ago", purchase(iap.Purchase{PurchaseDate: now.Add(-40 * day), RevocationDate: now.Add(-30 * day)}), iap.RuleSettled, 0, 0},
		{"nothing bought", iap.Conclusion{}, iap.RuleNoPurchases, 28 * day, 30 * day},
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

func TestPlanOfSeveral(t *testing.T) {
	t.Parallel()
	sub := func(id, group string, status iap.Status, end time.Duration) iap.Subscription {
		s := state(status, id, end)
		s.OriginalTransactionID, s.SubscriptionGroupIdentifier, s.Environment = id, group, iap.Production
		s.ExpirationIntent = iap.IntentCustomerCancelled
		return s
	}
	soon := sub("soon", "20", iap.StatusActive, 2*day)
	tests := []struct {
		name     string
		c        iap.Conclusion
		want     iap.Rule
		wantedBy string
	}{
		{"the renewal that comes first", iap.Conclusion{Subscriptions: []iap.Subscription{sub("late", "21", iap.StatusActive, 20*day), soon}}, iap.RuleRenewal, "soon"},
		{"a dead one of another group, whose look comes first", iap.Conclusion{Subscriptions: []iap.Subscription{soon, sub("dead", "21", iap.StatusExpired, -time.Hour)}}, iap.RuleRenewal, "soon"},
		{"a failed payment beside a renewal", iap.Conclusion{Subscriptions: []iap.Subscription{soon, sub("failed", "21", iap.StatusBillingRetry, -day)}}, iap.RuleBillingRetry, "failed"},
		{"nobody comes back to a group in which he has another", iap.Conclusion{Subscriptions: []iap.Subscription{
			sub("live", "20", iap.StatusActive, 25*day), sub("dead", "20", iap.StatusExpired, -5*day)}}, iap.RuleRenewal, "live"},
		{"but to a group that Apple did not name he may", iap.Conclusion{Subscriptions: []iap.Subscription{
			sub("live", "", iap.StatusActive, 25*day), sub("dead", "", iap.StatusExpired, -5*day)}}, iap.RuleResubscribe, "dead"},
		{"a purchase beside a subscription that ended for good", iap.Conclusion{
			Subscriptions: []iap.Subscription{sub("dead", "20", iap.StatusExpired, -800*day)},
			Purchases:     []iap.Purchase{{OriginalTransactionID: "coins", PurchaseDate: now.Add(-day)}}}, iap.RulePurchaseSweep, "coins"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := iap.DefaultPolicy().Plan(test.c, now, 1)
			if got.Rule != test.want || got.OriginalTransactionID != test.wantedBy {
				t.Errorf("got %s by %q, want %s by %q", got.Rule, got.OriginalTransactionID, test.want, test.wantedBy)
			}
		})
	}
}

// TestPlanByTheHour has a run each hour: looks are not early by half a night.
func TestPlanByTheHour(t *testing.T) {
	t.Parallel()
	p := iap.DefaultPolicy()
	p.RunEvery = time.Hour
	tests := []struct {
		name     string
		s        iap.Subscription
		from, to time.Duration
	}{
		{"renewal", state(iap.StatusActive, "1", 5*day), 5*day - 18*time.Minute, 5*day - 18*time.Minute},
		{"billing retry", state(iap.StatusBillingRetry, "1", -5*day), 22 * time.Hour, 24 * time.Hour},
	}
	for _, test := range tests {
		got := p.Plan(iap.Conclusion{Subscriptions: []iap.Subscription{test.s}}, now, 3).At.Sub(now)
		if got < test.from || got > test.to {
			t.Errorf("%s: next check in %s, want between %s and %s", test.name, got, test.from, test.to)
		}
	}
}

// TestGraceOfTheApp has an app that leaves the service on for longer than
// looks at a failed payment are apart.
func TestGraceOfTheApp(t *testing.T) {
	t.Parallel()
	p := iap.DefaultPolicy()
	p.GraceFor = 28 * day
	got := p.Plan(iap.Conclusion{Subscriptions: []iap.Subscription{state(iap.StatusBillingRetry, "1", -27*day)}}, now, 1)
	if wait := got.At.Sub(now); got.Rule != iap.RuleGracePeriodEnd || wait < day || wait > day+15*time.Minute {
		t.Errorf("got %s in %s, want %s just after a day", got.Rule, wait, iap.RuleGracePeriodEnd)
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
