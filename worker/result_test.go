package worker

import (
	"strings"
	"testing"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// TestDescribe is what people read on the page of a task.
func TestDescribe(t *testing.T) {
	t.Parallel()
	code := 21005
	subscriptions := func(statuses ...iap.Status) *iap.Conclusion {
		c := &iap.Conclusion{}
		for _, status := range statuses {
			c.Subscriptions = append(c.Subscriptions, iap.Subscription{Status: status, ExpiresDate: noon.Add(14 * time.Hour)})
		}
		return c
	}
	after := func(wait time.Duration, rule iap.Rule) iap.Check { return iap.Check{At: noon.Add(wait), Rule: rule} }
	for name, test := range map[string]struct {
		outcome claim.Outcome
		want    string
	}{
		"active": {claim.Outcome{Asked: true, Conclusion: subscriptions(iap.StatusActive), NextCheck: after(14*time.Hour+10*time.Minute, iap.RuleRenewal)},
			"active until 2026-03-02 02:00 UTC; next check 2026-03-02 02:10 UTC by renewal"},
		"active and due soon": {claim.Outcome{Asked: true, Conclusion: subscriptions(iap.StatusActive), NextCheck: after(time.Minute, iap.RuleRenewal)},
			"active until 2026-03-02 02:00 UTC; next check 2026-03-01 12:01 UTC by renewal"},
		"expired": {claim.Outcome{Asked: true, Conclusion: subscriptions(iap.StatusExpired), NextCheck: after(24*time.Hour, iap.RuleResubscribe)},
			"expired since 2026-03-02 02:00 UTC; next check 2026-03-02 12:00 UTC by resubscribe"},
		"grace period": {claim.Outcome{Asked: true, Conclusion: subscriptions(iap.StatusGracePeriod), NextCheck: after(12*time.Hour, iap.RuleGracePeriod)},
			"billing grace period; next check 2026-03-02 00:00 UTC by grace period"},
		"several": {claim.Outcome{Asked: true, Conclusion: subscriptions(iap.StatusExpired, iap.StatusActive, iap.StatusExpired), NextCheck: after(24*time.Hour, iap.RuleRenewal)},
			"subscriptions: 1 active, 2 expired; next check 2026-03-02 12:00 UTC by renewal"},
		"purchases only": {claim.Outcome{Asked: true, Conclusion: &iap.Conclusion{Purchases: make([]iap.Purchase, 3)}, NextCheck: iap.Check{Rule: iap.RuleSettled}},
			"no subscriptions, purchases: 3; no next check: settled"},
		"timeout": {claim.Outcome{Asked: true, Failure: "timeout", NextCheck: after(30*time.Second, iap.RuleRetry)},
			"failed, timeout; checked again in 30s"},
		"a code of Apple's": {claim.Outcome{Asked: true, Failure: "apple_unavailable", Code: &code, NextCheck: after(3*time.Hour, iap.RuleRetry)},
			"failed, apple unavailable (status 21005); next check 2026-03-01 15:00 UTC by retry"},
		"limit": {claim.Outcome{Failure: "limiter_busy", NextCheck: after(time.Millisecond, iap.RuleWait)},
			"not asked, limiter busy; checked again in 1s"},
		"given back":     {claim.Outcome{}, "not checked, claim released; due as before"},
		"paused by this": {claim.Outcome{Failure: "shared_secret_refused", Calls: 1}, "failed, shared secret refused; due as before"},
		"set aside":      {claim.Outcome{Asked: true, Failure: "wrong_app", NextCheck: iap.Check{Rule: iap.RuleSetAside}}, "failed, wrong app; no next check: set aside"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.outcome.At = noon
			if got := describe(test.outcome, true); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if got := describe(test.outcome, false); got != lostClaim {
				t.Errorf("with the claim lost: got %q, want %q", got, lostClaim)
			}
		})
	}
}

// TestDescribeStaysShort has the outcome with the most to say.
func TestDescribeStaysShort(t *testing.T) {
	t.Parallel()
	code := 21199
	longest := claim.Outcome{Asked: true, At: noon, Code: &code, NextCheck: iap.Check{At: noon.AddDate(1, 0, 0), Rule: iap.RuleBillingRetryEnd}}
	for _, v := range allClasses() {
		longest.Failure = v.Name
		if n := len(describe(longest, true)); n > 200 {
			t.Errorf("%s: %d bytes, want at most 200", v.Name, n)
		}
	}
	var all iap.Conclusion
	for _, status := range iap.Statuses() {
		for range 1000 {
			all.Subscriptions = append(all.Subscriptions, iap.Subscription{Status: status, ProductID: strings.Repeat("product", 50)})
		}
	}
	longest.Conclusion = &all
	if text := describe(longest, true); len(text) > 200 || strings.Contains(text, "product") {
		t.Errorf("%d bytes, want at most 200 and no product: %s", len(text), text)
	}
}
