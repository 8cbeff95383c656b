package iap_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"revalidator/internal/iap"
)

// anySubscription draws a state that Derive can conclude, at the time now.
func anySubscription(t *rapid.T) iap.Subscription {
	wait := func(name string, least, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, name))
	}
	s := iap.Subscription{Status: rapid.SampledFrom(iap.Statuses()).Draw(t, "status")}
	s.OriginalTransactionID = rapid.StringMatching(`[0-9]{1,18}`).Draw(t, "id")
	s.Environment = rapid.SampledFrom([]iap.Environment{iap.Production, iap.Sandbox}).Draw(t, "environment")
	s.SubscriptionGroupIdentifier = rapid.SampledFrom([]string{"", "20", "21"}).Draw(t, "group")
	s.ExpirationIntent = iap.ExpirationIntent(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "intent"))
	s.PriceConsentStatus = rapid.SampledFrom([]string{"", "0", "1"}).Draw(t, "consent")
	s.AutoRenewStatus = rapid.SampledFrom([]*bool{nil, new(true), new(false)}).Draw(t, "renews")
	s.ExpiresDate = now.Add(-wait("expired", 0, 2000*day))
	switch s.Status {
	case iap.StatusActive:
		s.ExpiresDate = now.Add(wait("expires", 1, 800*day))
	case iap.StatusGracePeriod:
		s.GracePeriodExpiresDate = now.Add(wait("grace", 1, 28*day))
	case iap.StatusRevoked:
		s.ExpiresDate = now.Add(wait("would expire", -2000*day, 400*day))
		s.RevocationDate = now.Add(-wait("revoked", 0, 2000*day))
	case iap.StatusExpired:
		s.IsUpgraded = rapid.Bool().Draw(t, "upgraded")
	}
	s.PurchaseDate = s.ExpiresDate.Add(-wait("period", time.Minute, 800*day))
	return s
}

func anyPurchase(t *rapid.T) iap.Purchase {
	o := iap.Purchase{OriginalTransactionID: "9", Environment: iap.Production}
	o.PurchaseDate = now.Add(-time.Duration(rapid.IntRange(0, 400).Draw(t, "bought")) * day)
	if rapid.Bool().Draw(t, "refunded") {
		o.RevocationDate = now.Add(-time.Duration(rapid.IntRange(0, 400).Draw(t, "refund")) * day)
	}
	return o
}

func anyConclusion(t *rapid.T) iap.Conclusion {
	return iap.Conclusion{
		Subscriptions: rapid.SliceOfN(rapid.Custom(anySubscription), 0, 5).Draw(t, "subscriptions"),
		Purchases:     rapid.SliceOfN(rapid.Custom(anyPurchase), 0, 3).Draw(t, "purchases"),
	}
}

// anyPolicy is the policy of any app, at runs as far apart as people have them.
func anyPolicy(t *rapid.T) iap.Policy {
	p := iap.DefaultPolicy()
	p.RunEvery = rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour, 6 * time.Hour, day, 7 * day}).Draw(t, "runs")
	p.GraceFor = time.Duration(rapid.IntRange(0, 60).Draw(t, "grace days")) * day
	p.ResubscribeFor = time.Duration(rapid.IntRange(0, 4000).Draw(t, "tail days")) * day
	p = p.WithSweep(time.Duration(rapid.IntRange(1, 365).Draw(t, "sweep days")) * day)
	return p
}

func live(s iap.Subscription) bool {
	return s.Status == iap.StatusActive || s.Status == iap.StatusGracePeriod || s.Status == iap.StatusBillingRetry
}

func TestNextCheckIsAheadAndLiveReceiptsAreNeverDropped(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, c, id := anyPolicy(t), anyConclusion(t), rapid.Int64().Draw(t, "id")
		next := p.Plan(c, now, id)
		if next.At.IsZero() != (next.Rule == iap.RuleSettled) {
			t.Fatalf("next check %s by rule %s", next.At, next.Rule)
		}
		if !next.At.IsZero() && !next.At.After(now) {
			t.Fatalf("next check %s is not ahead of %s", next.At, now)
		}
		for _, s := range c.Subscriptions {
			if live(s) && (next.At.IsZero() || next.At.Sub(now) > p.Ceiling()) {
				t.Fatalf("a %s subscription is next checked at %s, later than in %s", s.Status, next.At, p.Ceiling())
			}
		}
	})
}

// TestMoreToWatchIsNeverLookedAtLater adds what has ended to a receipt.
func TestMoreToWatchIsNeverLookedAtLater(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, c, id := anyPolicy(t), anyConclusion(t), rapid.Int64().Draw(t, "id")
		before := p.Plan(c, now, id)
		more := rapid.Custom(anySubscription).Filter(func(s iap.Subscription) bool { return !live(s) }).Draw(t, "more")
		c.Subscriptions = append(c.Subscriptions, more)
		after := p.Plan(c, now, id)
		if before.Rule == iap.RuleSettled || before.Rule == iap.RuleNoPurchases {
			return
		}
		if after.At.IsZero() || after.At.After(before.At) {
			t.Fatalf("with one more: %s by %s, without: %s by %s", after.At, after.Rule, before.At, before.Rule)
		}
	})
}

// TestCheckNamesItsSubscription has the rule say whose it is, and the table of
// the policy tell of the rule.
func TestCheckNamesItsSubscription(t *testing.T) {
	t.Parallel()
	told := map[iap.Rule]bool{}
	for _, row := range iap.DefaultPolicy().Table() {
		told[row.Rule] = true
	}
	rapid.Check(t, func(t *rapid.T) {
		c := anyConclusion(t)
		next := anyPolicy(t).Plan(c, now, 1)
		if !told[next.Rule] {
			t.Fatalf("rule %s is not in the table", next.Rule)
		}
		known := next.Rule == iap.RuleSettled || next.Rule == iap.RuleNoPurchases
		for _, s := range c.Subscriptions {
			known = known || s.OriginalTransactionID == next.OriginalTransactionID
		}
		for _, o := range c.Purchases {
			known = known || o.OriginalTransactionID == next.OriginalTransactionID
		}
		if !known {
			t.Fatalf("rule %s is said to be of %q, which is not there", next.Rule, next.OriginalTransactionID)
		}
	})
}

// TestSameAnswerAgainIsAskedForLessAndLess follows the plan of a receipt of
// which nothing ever changes, at a run each night.
func TestSameAnswerAgainIsAskedForLessAndLess(t *testing.T) {
	t.Parallel()
	ended := state(iap.StatusExpired, "1", -time.Minute)
	ended.ExpirationIntent = iap.IntentCustomerCancelled
	retry := state(iap.StatusBillingRetry, "1", -time.Minute)
	tests := []struct {
		name string
		s    iap.Subscription
		// most is how many looks there are at most in the days.
		days, most int
	}{
		{"ended", ended, 400, 18},
		{"a failed payment", retry, 60, 36},
	}
	for _, test := range tests {
		looks, at := 0, now
		for at.Before(now.AddDate(0, 0, test.days)) {
			next := iap.DefaultPolicy().Plan(iap.Conclusion{Subscriptions: []iap.Subscription{test.s}}, at, 5)
			if next.At.IsZero() {
				break
			}
			at = next.At.Truncate(day).Add(day)
			looks++
		}
		if looks > test.most {
			t.Errorf("%s: looked at %d times, want at most %d", test.name, looks, test.most)
		}
	}
}
