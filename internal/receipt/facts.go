package receipt

import "revalidator/internal/iap"

// Facts is what a receipt tells by itself: its purchases as they were at its
// creation date. It knows nothing of renewal, and names no offer, so that it
// tells as little as a reply in the style of iOS 6. The error is that of
// Transactions.
func (i Info) Facts() (iap.Facts, error) {
	f := iap.Facts{AsOf: i.CreationDate, Environment: i.Environment, BundleID: i.BundleID, TransactionStyle: true}
	for t, err := range i.Transactions() {
		if err != nil {
			return iap.Facts{}, err
		}
		f.AddTransaction(t, iap.ListReceipt)
	}
	return f, nil
}
