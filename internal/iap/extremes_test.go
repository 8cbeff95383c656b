package iap_test

import (
	"encoding/json"
	"testing"
	"time"

	"revalidator/internal/iap"
)

// TestPossibleDatesDoNotOverflow derives, merges and plans with the first and the last
// date that a reply may give, in every place and with the time of the reply at either
// end: what comes of it can be written, and is no earlier than now nor beyond the
// ceiling.
func TestPossibleDatesDoNotOverflow(t *testing.T) {
	t.Parallel()
	first, last := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Millisecond)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	policy := iap.DefaultPolicy()
	dates, none := []time.Time{first, now, last}, []time.Time{{}, first, last}
	var before *iap.Subscription
	for _, asOf := range dates {
		for _, bought := range dates {
			for _, expires := range dates {
				for _, revoked := range none {
					for _, grace := range none {
						for _, environment := range []iap.Environment{iap.Production, iap.Sandbox} {
							f := iap.Facts{AsOf: asOf, Environment: environment, BundleID: "a"}
							f.AddTransaction(iap.Transaction{
								TransactionID: "1", OriginalTransactionID: "1", ProductID: "p",
								PurchaseDate: bought, OriginalPurchaseDate: bought, ExpiresDate: expires, CancellationDate: revoked,
							}, iap.ListLatest)
							f.AddTransaction(iap.Transaction{TransactionID: "2", ProductID: "q", PurchaseDate: bought, CancellationDate: revoked}, iap.ListLatest)
							f.AddRenewalInfo(iap.RenewalInfo{OriginalTransactionID: "1", GracePeriodExpiresDate: grace, IsInBillingRetryPeriod: new(true)})
							c := iap.Derive(&f)
							if before != nil && len(c.Subscriptions) == 1 {
								c.Subscriptions[0], _ = iap.Merge(*before, c.Subscriptions[0])
							}
							next := policy.PlanAfter(c, iap.Brought{News: true}, asOf, time.Hour, 1)
							if !next.At.IsZero() && (next.At.Before(asOf) || next.At.After(asOf.Add(policy.Ceiling()))) {
								t.Errorf("as of %s, bought %s, expires %s, revoked %s, grace %s: next check %s by %s",
									asOf, bought, expires, revoked, grace, next.At, next.Rule)
							}
							if _, err := json.Marshal([]any{c, next}); err != nil {
								t.Errorf("as of %s, bought %s, expires %s: %v", asOf, bought, expires, err)
							}
							if len(c.Subscriptions) == 1 {
								before = &c.Subscriptions[0]
							}
						}
					}
				}
			}
		}
	}
}
