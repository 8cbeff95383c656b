package report

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/phrase"
	"revalidator/repository"
)

// ExplainStore is what an explanation needs.
type ExplainStore interface {
	ClockStore
	holdingStore
	Matches(ctx context.Context, id string, receiptID int64) ([]repository.Match, error)
	StoredReceipts(ctx context.Context, q repository.ReceiptQuery) ([]repository.StoredReceipt, error)
	ReceiptsOfTransaction(ctx context.Context, bundleID, id string, limit int) ([]int64, error)
	LastEvents(ctx context.Context, keys []iap.SubscriptionKey, limit int) ([]repository.Event, error)
}

// AmbiguousError is an id of several things.
type AmbiguousError struct {
	ID         string
	Candidates []repository.Match
}

// Error lists what the id may mean, with the flags that choose it.
func (e *AmbiguousError) Error() string {
	text := fmt.Sprintf("%q is the id of several things; choose one:", e.ID)
	for _, m := range e.Candidates {
		text += fmt.Sprintf("\n  --as %s --app %s", m.Kind, m.BundleID)
		if m.TransactionID != "" && m.TransactionID != e.ID {
			text = fmt.Sprintf("%s, of %s: 'revalidator explain %s'", text, m.TransactionID, m.TransactionID)
		}
		if m.Environment != "" {
			text += fmt.Sprintf(" (%s)", m.Environment)
		}
	}
	return text
}

// Limits of what is explained at a time.
const (
	lastEvents   = 20
	maxExplained = 20
)

// Explanation is what explain has to say, in JSON.
type Explanation struct {
	Subject repository.Match `json:"subject"`
	ID      string           `json:"id"`
	// Receipts are the first ones where there are many.
	Receipts      []ReceiptExplanation `json:"receipts"`
	Subscriptions []Subscription       `json:"subscriptions"`
	Purchases     []iap.Purchase       `json:"purchases"`
	// Events are the last ones, the latest first.
	Events []repository.Event `json:"events"`
	// Incomplete names the lists that do not hold all there is.
	Incomplete []string `json:"incomplete"`
}

// ReceiptExplanation is a stored receipt with what its codes and rules mean.
type ReceiptExplanation struct {
	repository.StoredReceipt
	// The meanings are empty where there is nothing that they could be of.
	LastCodeMeaning  string   `json:"last_code_meaning"`
	LastErrorMeaning string   `json:"last_error_meaning"`
	NextCheckMeaning string   `json:"next_check_meaning"`
	Obstacles        []string `json:"obstacles"`
}

// ExplainReceipt says what the codes and rules of a receipt mean.
func ExplainReceipt(r repository.StoredReceipt, now time.Time) ReceiptExplanation {
	e := ReceiptExplanation{StoredReceipt: r, NextCheckMeaning: nextCheckText(r), Obstacles: Obstacles(r, now)}
	if r.LastCode != nil {
		e.LastCodeMeaning = appstore.Code(*r.LastCode).Meaning()
	}
	if r.LastError != nil {
		e.LastErrorMeaning = failureText(*r.LastError)
	}
	return e
}

// SubjectOf is the one thing that an id is the id of.
func SubjectOf(ctx context.Context, store ExplainStore, id string, kind repository.MatchKind, app string) (repository.Match, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		number = 0 // no id of a receipt
	}
	matches, err := store.Matches(ctx, id, number)
	if err != nil {
		return repository.Match{}, err
	}
	var candidates []repository.Match
	for _, m := range matches {
		if (kind == "" || m.Kind == kind) && (app == "" || m.BundleID == app) {
			candidates = append(candidates, m)
		}
	}
	switch len(candidates) {
	case 0:
		return repository.Match{}, fmt.Errorf("nothing has the id or name %q: give the id of a receipt, a customer reference, a transaction id, or a web order line item; see 'revalidator receipts list'", id)
	case 1:
		return candidates[0], nil
	}
	return repository.Match{}, &AmbiguousError{id, candidates}
}

// ReadExplanation reads all there is of a subject, apart from what Redis knows: see
// AddBudgets.
func ReadExplanation(ctx context.Context, store ExplainStore, id string, m repository.Match, now time.Time) (Explanation, error) {
	e := Explanation{Subject: m, ID: id, Receipts: []ReceiptExplanation{}, Purchases: []iap.Purchase{}, Events: []repository.Event{}, Incomplete: []string{}}
	receipts, err := receiptsOf(ctx, store, id, m)
	if err != nil {
		return e, err
	}
	ids := make([]int64, len(receipts))
	for i, r := range receipts {
		ids[i] = r.ID
		e.Receipts = append(e.Receipts, ExplainReceipt(r, now))
	}
	transaction := ""
	if m.TransactionID != "" {
		// Of its receipts, what else they show is not asked for.
		ids, transaction = nil, m.TransactionID
	}
	subscriptions, err := store.SubscriptionsOf(ctx, ids, m.BundleID, transaction)
	if err != nil {
		return e, err
	}
	purchases, err := store.PurchasesOf(ctx, ids, m.BundleID, transaction, maxPurchases+1)
	if err != nil {
		return e, err
	}
	events, err := store.LastEvents(ctx, keysOf(subscriptions, purchases), lastEvents+1)
	e.Subscriptions = Subscriptions(subscriptions)
	e.Purchases = append(e.Purchases, firstOf(purchases, maxPurchases, "purchases", &e.Incomplete)...)
	e.Events = append(e.Events, firstOf(events, lastEvents, "events", &e.Incomplete)...)
	if e.Subject.Receipts > len(e.Receipts) {
		e.Incomplete = append(e.Incomplete, "receipts")
	}
	if err != nil {
		return e, err
	}
	wrong, err := ReadWrongClocks(ctx, store)
	e.addClocks(wrong)
	return e, err
}

// receiptsOf are the receipts of a subject, or the first of them.
func receiptsOf(ctx context.Context, store ExplainStore, id string, m repository.Match) ([]repository.StoredReceipt, error) {
	query := repository.ReceiptQuery{BundleID: m.BundleID, Limit: maxExplained}
	switch m.Kind {
	case repository.MatchCustomer:
		query.CustomerRef = &id
	case repository.MatchReceipt:
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, err
		}
		query.IDs = []int64{number}
	case repository.MatchTransaction, repository.MatchWebOrder:
		ids, err := store.ReceiptsOfTransaction(ctx, m.BundleID, m.TransactionID, maxExplained)
		if err != nil || len(ids) == 0 {
			return nil, err
		}
		query.IDs = ids
	}
	return store.StoredReceipts(ctx, query)
}

// keysOf are the keys under which events are kept.
func keysOf(subscriptions []iap.Subscription, purchases []iap.Purchase) []iap.SubscriptionKey {
	keys := make([]iap.SubscriptionKey, 0, len(subscriptions)+len(purchases))
	for _, s := range subscriptions {
		keys = append(keys, s.SubscriptionKey)
	}
	for _, p := range purchases {
		keys = append(keys, iap.SubscriptionKey{BundleID: p.BundleID, Environment: p.Environment, OriginalTransactionID: p.OriginalTransactionID})
	}
	return keys
}

// addClocks adds to receipts that their checks are held because the clock is wrong.
func (e *Explanation) addClocks(wrong []WrongClock) {
	for i, r := range e.Receipts {
		for _, c := range wrong {
			if c.Environment == cmp.Or(r.Environment, iap.Production) {
				e.Receipts[i].Obstacles = append(e.Receipts[i].Obstacles, fmt.Sprintf("clock wrong: since %s %s. Only one check a minute is made until it is set.",
					phrase.Time(c.HeldSince), c))
			}
		}
	}
}

// AddBudgets adds to receipts that Apple is asked less, or nothing, about their
// apps.
func (e *Explanation) AddBudgets(budgets []Budget) {
	for i, r := range e.Receipts {
		for _, b := range budgets {
			if (b.BundleID == r.BundleID || b.BundleID == "") && b.Size == "" && !b.Unreadable && b.Environment == cmp.Or(r.Environment, iap.Production) {
				e.Receipts[i].Obstacles = append(e.Receipts[i].Obstacles, b.obstacle())
			}
		}
	}
}
