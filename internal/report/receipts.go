package report

import (
	"context"
	"errors"
	"fmt"

	"revalidator/internal/database"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/repository"
)

// ReceiptPage is a page of receipts in JSON.
type ReceiptPage struct {
	Receipts []repository.StoredReceipt `json:"receipts"`
	// NextAfter is what to give to --after for the next page, nil on the last.
	NextAfter *int64 `json:"next_after"`
}

// onePage is up to limit of what was found, and the id after which the next page
// begins: nil where nothing is left.
func onePage[T any](found []T, limit int, id func(T) int64) (page []T, nextAfter *int64) {
	page = list(found)
	if len(page) > limit {
		page = page[:limit]
		nextAfter = new(id(page[limit-1]))
	}
	return page, nextAfter
}

// QuarantinePage is what is in quarantine, in JSON.
type QuarantinePage struct {
	// Counts are of all that were asked for, Receipts a page of them.
	Counts   []repository.QuarantineCount    `json:"counts"`
	Receipts []repository.QuarantinedReceipt `json:"receipts"`
	// NextAfter is what to give to --after for the next page, nil on the last.
	NextAfter *int64 `json:"next_after"`
}

// ReceiptDetails is a stored receipt and what it shows, in JSON.
type ReceiptDetails struct {
	Receipt       repository.StoredReceipt `json:"receipt"`
	Subscriptions []Subscription           `json:"subscriptions"`
	Purchases     []iap.Purchase           `json:"purchases"`
}

// Subscription is a subscription in JSON.
type Subscription struct {
	iap.Subscription
	Entitled bool `json:"entitled"`
}

// Subscriptions are subscriptions with what follows from their status.
func Subscriptions(subscriptions []iap.Subscription) []Subscription {
	reports := make([]Subscription, len(subscriptions))
	for i, s := range subscriptions {
		reports[i] = Subscription{s, s.Status.Entitled()}
	}
	return reports
}

// maxPurchases bounds the purchases of one read: games leave thousands in a receipt.
const maxPurchases = 1000

// holdingStore has what receipts show.
type holdingStore interface {
	SubscriptionsOf(ctx context.Context, receiptIDs []int64, bundleID, transactionID string) ([]iap.Subscription, error)
	PurchasesOf(ctx context.Context, receiptIDs []int64, bundleID, transactionID string, limit int) ([]iap.Purchase, error)
}

// ReceiptStore has stored receipts.
type ReceiptStore interface {
	holdingStore
	StoredReceipts(ctx context.Context, q repository.ReceiptQuery) ([]repository.StoredReceipt, error)
	// StoredReceipt fails with database.ErrNotFound where there is none.
	StoredReceipt(ctx context.Context, id int64) (repository.StoredReceipt, error)
}

// ReadReceipts reads a page of receipts.
func ReadReceipts(ctx context.Context, store ReceiptStore, q repository.ReceiptQuery) (ReceiptPage, error) {
	limit := q.Limit
	q.Limit++ // one more tells whether there is a next page
	found, err := store.StoredReceipts(ctx, q)
	var page ReceiptPage
	page.Receipts, page.NextAfter = onePage(found, limit, func(r repository.StoredReceipt) int64 { return r.ID })
	return page, err
}

// ReadReceipt reads a stored receipt and what it shows. Its error says where receipts
// are listed if there is none with the id.
func ReadReceipt(ctx context.Context, store ReceiptStore, id int64) (ReceiptDetails, error) {
	r, err := store.StoredReceipt(ctx, id)
	if errors.Is(err, database.ErrNotFound) {
		return ReceiptDetails{}, fmt.Errorf("no receipt %d: see 'revalidator receipts list'", id)
	}
	if err != nil {
		return ReceiptDetails{}, err
	}
	subscriptions, err := store.SubscriptionsOf(ctx, []int64{id}, "", "")
	if err != nil {
		return ReceiptDetails{}, err
	}
	purchases, err := store.PurchasesOf(ctx, []int64{id}, "", "", maxPurchases)
	return ReceiptDetails{r, Subscriptions(subscriptions), list(purchases)}, err
}

// QuarantineStore has quarantined receipts.
type QuarantineStore interface {
	QuarantineCounts(ctx context.Context, q repository.QuarantineQuery) ([]repository.QuarantineCount, error)
	Quarantined(ctx context.Context, q repository.QuarantineQuery) ([]repository.QuarantinedReceipt, error)
}

// ReadQuarantine reads a page of quarantined receipts, and counts all of them.
func ReadQuarantine(ctx context.Context, store QuarantineStore, q repository.QuarantineQuery) (QuarantinePage, error) {
	counts, err := store.QuarantineCounts(ctx, q)
	if err != nil {
		return QuarantinePage{}, err
	}
	limit := q.Limit
	q.Limit++ // one more tells whether there is a next page
	found, err := store.Quarantined(ctx, q)
	page := QuarantinePage{Counts: list(counts)}
	page.Receipts, page.NextAfter = onePage(found, limit, func(r repository.QuarantinedReceipt) int64 { return r.ID })
	return page, err
}

// KindText is a kind of receipt in words.
func KindText(k iap.ReceiptKind) string {
	switch k {
	case iap.KindAppReceipt:
		return "app receipt"
	case iap.KindTransactionReceipt:
		return "transaction receipt of iOS 6"
	case iap.KindXcode:
		return "receipt of Xcode's StoreKit testing"
	}
	return phrase.Words(string(k))
}
