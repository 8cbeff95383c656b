package repository_test

import (
	"testing"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// TestFactsOfOneMomentAreStoredTogether has a new subscription told twice in one
// batch, as of the same moment: by a reply that tells its offer and by one in iOS 6
// style, which cannot. What is stored is what both tell.
func TestFactsOfOneMomentAreStoredTogether(t *testing.T) {
	for name, order := range map[string][2]int{"offer first": {0, 1}, "offer last": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.receipts(app, 2)
			run := f.run()
			claims := f.claim(run, 2)
			full, old := success(claims[0], run, noon), success(claims[1], run, noon)
			full.Conclusion.Subscriptions[0].OfferType, full.Conclusion.Subscriptions[0].OfferID = iap.OfferCode, "夏"
			s := &old.Conclusion.Subscriptions[0]
			s.Tells = iap.GroupPeriod | iap.GroupRevocations
			s.ToldAt = iap.ToldAt{PeriodAsOf: noon, RevocationsAsOf: noon}
			both := []claim.Outcome{full, old}
			f.save(both[order[0]], both[order[1]])
			stored, err := f.SubscriptionsOf(t.Context(), []int64{claims[0].ReceiptID}, app, "")
			f.must(err)
			if len(stored) != 1 || stored[0].OfferID != "夏" {
				t.Errorf("stored %+v, want the offer 夏", stored)
			}
		})
	}
}
