package repository_test

import (
	"errors"
	"fmt"
	"testing"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// TestBatchOfReceiptsThatShowMuch is refused as a whole, and stored one by one: what
// was stored of each before is read and locked again, however little a reply shows.
func TestBatchOfReceiptsThatShowMuch(t *testing.T) {
	f := open(t)
	const receipts, each = 3, 1500
	f.receipts(app, receipts)
	run := f.run()
	crowded := func(c claim.Claim) claim.Outcome {
		o := success(c, run, noon)
		s := o.Conclusion.Subscriptions[0]
		o.Conclusion.Subscriptions = nil
		for i := range each {
			s.OriginalTransactionID = fmt.Sprintf("%d%05d", c.ReceiptID, i)
			s.TransactionID = s.OriginalTransactionID
			o.Conclusion.Subscriptions = append(o.Conclusion.Subscriptions, s)
		}
		return o
	}
	for _, c := range f.claim(run, receipts) {
		f.save(crowded(c))
	}
	_, err := f.Recheck(t.Context(), []int64{1, 2, 3}, noon)
	f.must(err)
	var batch []claim.Outcome
	for _, c := range f.claim(run, receipts) {
		o := success(c, run, noon)
		o.Conclusion = &iap.Conclusion{AsOf: noon}
		batch = append(batch, o)
	}
	if _, err := f.SaveOutcomes(t.Context(), batch); !errors.Is(err, database.ErrTooMuch) {
		t.Errorf("all at once: got %v, want %v", err, database.ErrTooMuch)
	}
	for _, o := range batch {
		f.save(o)
	}
}
