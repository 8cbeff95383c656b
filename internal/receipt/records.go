package receipt

import (
	"fmt"
	"iter"

	"revalidator/internal/iap"
)

// The attribute types inside an in-app purchase record. Apple does not
// document 1713; it follows is_trial_period in every reply seen.
const (
	typeQuantity              = 1701
	typeProductID             = 1702
	typeTransactionID         = 1703
	typePurchaseDate          = 1704
	typeOriginalTransactionID = 1705
	typeInAppOriginalPurchase = 1706
	typeExpiresDate           = 1708
	typeCancellationDate      = 1712
	typeIsTrialPeriod         = 1713
	typeIsInIntroOfferPeriod  = 1719
)

// inAppRecords yields the in-app purchase records among the attributes.
func inAppRecords(attributes []byte) iter.Seq2[iap.Transaction, error] {
	return func(yield func(iap.Transaction, error) bool) {
		for a, err := range attributesOf(attributes) {
			if err == nil && a.kind != typeInApp {
				continue
			}
			var t iap.Transaction
			if err == nil {
				t, err = readTransaction(a.value)
			}
			if err != nil {
				yield(iap.Transaction{}, fmt.Errorf("%w: in-app purchase record: %w", ErrMalformed, err))
				return
			}
			if !yield(t, nil) {
				return
			}
		}
	}
}

func readTransaction(record []byte) (iap.Transaction, error) {
	set, _, err := expect(record, tagSet)
	if err != nil {
		return iap.Transaction{}, err
	}
	var t iap.Transaction
	for a, err := range attributesOf(set) {
		if err != nil {
			return iap.Transaction{}, err
		}
		if err := setField(&t, a); err != nil {
			return iap.Transaction{}, fmt.Errorf("type %d: %w", a.kind, err)
		}
	}
	return t, nil
}

func setField(t *iap.Transaction, a attribute) (err error) {
	var n int64
	switch a.kind {
	case typeQuantity:
		n, err = integer(a.value)
		t.Quantity = int(n)
	case typeProductID:
		t.ProductID, err = text(a.value)
	case typeTransactionID:
		t.TransactionID, err = text(a.value)
	case typeOriginalTransactionID:
		t.OriginalTransactionID, err = text(a.value)
	case typePurchaseDate:
		t.PurchaseDate, err = date(a.value)
	case typeInAppOriginalPurchase:
		t.OriginalPurchaseDate, err = date(a.value)
	case typeExpiresDate:
		t.ExpiresDate, err = date(a.value)
	case typeCancellationDate:
		t.CancellationDate, err = date(a.value)
	case typeIsTrialPeriod:
		n, err = integer(a.value)
		t.IsTrialPeriod = n != 0
	case typeIsInIntroOfferPeriod:
		n, err = integer(a.value)
		t.IsInIntroOfferPeriod = n != 0
	}
	return err
}
